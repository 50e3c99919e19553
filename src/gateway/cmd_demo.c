#include "gateway/cmd.h"

int tr_cmd_demo(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return 2;
}
