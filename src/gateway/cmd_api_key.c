#include "base/digest.h"
#include "gateway/args.h"
#include "gateway/cmd.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define SCOPES_MAX 64

struct request {
    const char *consumer, *tier, *scopes[SCOPES_MAX];
    int scope_count;
};

/* What may stand in the file without escapes. */
static bool is_plain(const char *s)
{
    for (const char *p = s; *p; p++)
        if (*p < 0x21 || *p > 0x7E || *p == '"' || *p == '\\')
            return false;
    return *s != '\0';
}

/* Options of this verb alone: "--consumer NAME" or "--consumer=NAME". */
static const char *value_of(const char *option, int argc, char **argv, int *i)
{
    size_t n = strlen(option);
    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): *i < argc */
    if (strncmp(argv[*i], option, n) != 0)
        return NULL;
    if (argv[*i][n] == '=')
        return argv[*i] + n + 1;
    return argv[*i][n] == '\0' && *i + 1 < argc ? argv[++*i] : NULL;
}

static int parse(struct request *r, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *v;
        if ((v = value_of("--consumer", argc, argv, &i)) != NULL)
            r->consumer = v;
        else if ((v = value_of("--tier", argc, argv, &i)) != NULL)
            r->tier = v;
        else if ((v = value_of("--scope", argc, argv, &i)) != NULL && r->scope_count < SCOPES_MAX)
            r->scopes[r->scope_count++] = v;
        else
            return tr_cmd_usage("api-key", "unexpected argument '%s'", argv[i]);
        if (!is_plain(v))
            return tr_cmd_usage("api-key", "'%s' is not a name of visible characters", v);
    }
    return r->consumer ? -1 : tr_cmd_usage("api-key", "--consumer NAME is needed");
}

static void print_line(const struct request *r, const uint8_t digest[TR_SHA256_BYTES])
{
    (void)printf("{\"sha256\": \"");
    for (int i = 0; i < TR_SHA256_BYTES; i++)
        (void)printf("%02x", digest[i]);
    (void)printf("\", \"consumer\": \"%s\"", r->consumer);
    if (r->tier)
        (void)printf(", \"tier\": \"%s\"", r->tier);
    for (int i = 0; i < r->scope_count; i++)
        (void)printf("%s\"%s\"", i ? ", " : ", \"scopes\": [", r->scopes[i]);
    (void)printf("%s}\n", r->scope_count ? "]" : "");
}

static int make(const struct request *r)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t random[32], digest[TR_SHA256_BYTES];
    char key[3 + 43 + 1] = "tk_";
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        (void)fprintf(stderr, "transom: getrandom failed\n");
        return 1;
    }
    unsigned bits = 0, have = 0;
    size_t n = 3;
    for (size_t i = 0; i < sizeof random; i++) {
        bits = bits << 8 | random[i];
        for (have += 8; have >= 6; have -= 6)
            key[n++] = alphabet[bits >> (have - 6) & 63];
    }
    key[n++] = alphabet[bits << (6 - have) & 63];
    tr_sha256(tr_span(key, n), digest);
    (void)printf("The key, which is shown this once:\n%.*s\n"
                 "What to put into \"keys\" of the file of API keys:\n",
                 (int)n, key);
    print_line(r, digest);
    explicit_bzero(key, sizeof key);
    explicit_bzero(random, sizeof random);
    return 0;
}

int tr_cmd_api_key(int argc, char **argv)
{
    static const char help[] =
        "Usage: transom api-key new --consumer NAME [--tier NAME] [--scope NAME]...\n"
        "Make an API key: print it, and the line to store in the file that authentication.api_keys "
        "names.\nThe file has its digest only; the key cannot be had from it.\n";
    struct request r = {0};
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        (void)fputs(help, stdout);
        return 0;
    }
    if (argc < 2 || strcmp(argv[1], "new") != 0)
        return tr_cmd_usage("api-key", "expected: new");
    if (argc > 2 && strcmp(argv[2], "--help") == 0) {
        (void)fputs(help, stdout);
        return 0;
    }
    int status = parse(&r, argc - 1, argv + 1);
    return status >= 0 ? status : make(&r);
}
