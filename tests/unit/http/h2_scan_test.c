#include "http/h2_scan.h"

#include "h2_frames.h"
#include "test.h"

static struct tr_buf input;

static void make(void)
{
    static char payload[300];
    tr_buf_clear(&input);
    f_bytes(&input, F_PREFACE, sizeof F_PREFACE - 1);
    f_settings(&input, NULL, 0);
    f_frame(&input, F_DATA, F_END_STREAM, 0x7fffffff, payload, sizeof payload);
    f_head(&input, 0, F_DATA, 0, 0x80000001);
    f_code(&input, F_RST, 5, 8);
    f_head(&input, 0xffffff, 99, 0xff, 7);
}

static void check(size_t piece)
{
    static const struct tr_h2_frame_head want[] = {
        {0, F_SETTINGS, 0, 0}, {300, F_DATA, 1, 0x7fffffff}, {0, F_DATA, 0, 1},
        {4, F_RST, 0, 5},      {0xffffff, 99, 0xff, 7},
    };
    struct tr_h2_scan s = {.payload_left = TR_H2_PREFACE_BYTES};
    struct tr_h2_frame_head f;
    size_t found = 0;
    for (size_t at = 0; at < input.len; at += piece) {
        size_t len = input.len - at < piece ? input.len - at : piece, pos = 0;
        const uint8_t *data = (const uint8_t *)input.ptr + at;
        while (tr_h2_scan_next(&s, data, len, &pos, &f)) {
            assert_true(found < sizeof want / sizeof want[0]);
            assert_int_equal(f.len, want[found].len);
            assert_int_equal(f.type, want[found].type);
            assert_int_equal(f.flags, want[found].flags);
            assert_int_equal(f.stream_id, want[found].stream_id);
            found++;
        }
        assert_int_equal(pos, len);
    }
    assert_int_equal(found, sizeof want / sizeof want[0]);
}

static void h2_scan_finds_the_heads_in_any_pieces(void **state)
{
    (void)state;
    make();
    check(input.len);
    for (size_t piece = 1; piece < 40; piece++)
        check(piece);
    tr_buf_fini(&input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(h2_scan_finds_the_heads_in_any_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
