#include "base/digest.h"

#include "test.h"

#include <stdio.h>

static void is_digest(const char *text, size_t len, const char *hex)
{
    uint8_t out[TR_SHA256_BYTES];
    char printed[2 * TR_SHA256_BYTES + 1];
    tr_sha256(tr_span(text, len), out);
    for (size_t i = 0; i < sizeof out; i++)
        (void)snprintf(printed + 2 * i, 3, "%02x", out[i]);
    assert_string_equal(printed, hex);
}

static void examples_of_fips_180(void **state)
{
    (void)state;
    is_digest("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    is_digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    is_digest("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(examples_of_fips_180)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
