#include "transcode/frame.h"

#include "test.h"

#include <stdio.h>

/* What a stream gave: each message as "flag:bytes;", and how it ended. */
struct log {
    char text[512];
    size_t len;
    enum tr_err err;
    bool at_boundary;
};

static void note(struct log *log, const struct tr_frame *f)
{
    int n = snprintf(log->text + log->len, sizeof log->text - log->len, "%d:%.*s;", f->compressed,
                     (int)f->message.len, f->message.ptr);
    log->len += (size_t)n;
}

enum cutting { WHOLE, SINGLE, RANDOM };

static void feed(struct log *log, struct tr_span stream, enum cutting how, uint64_t *seed,
                 size_t max)
{
    struct tr_buf gather;
    struct tr_unframer u;
    struct tr_status st;
    tr_buf_init(&gather);
    tr_unframer_init(&u, &gather, max, TR_ERR_UPSTREAM_OVERSIZED);
    memset(log, 0, sizeof *log);
    log->err = TR_ERR_AGAIN;
    while (stream.len && log->err == TR_ERR_AGAIN) {
        size_t n = how == WHOLE ? stream.len : how == SINGLE ? 1 : tr_test_rand(seed) % 9 + 1;
        if (n > stream.len)
            n = stream.len;
        /* the chunk is gone after each turn: views of it must not be kept */
        char *part = tr_malloc(n);
        memcpy(part, stream.ptr, n);
        struct tr_span chunk = tr_span(part, n);
        struct tr_frame f;
        while ((log->err = tr_unframer_next(&u, &chunk, &f, &st)) == TR_OK)
            note(log, &f);
        if (log->err == TR_ERR_AGAIN)
            assert_int_equal(chunk.len, 0);
        tr_free(part);
        stream = tr_span_from(stream, n);
    }
    log->at_boundary = tr_unframer_at_boundary(&u);
    tr_buf_fini(&gather);
}

static void put(struct tr_buf *out, bool compressed, const char *text)
{
    char head[TR_FRAME_HEADER_BYTES];
    tr_frame_put_header(head, compressed, (uint32_t)strlen(text));
    assert_int_equal(tr_buf_append(out, tr_span(head, sizeof head)), TR_OK);
    assert_int_equal(tr_buf_append(out, tr_span_cstr(text)), TR_OK);
}

static void expect_in_three_lives(struct tr_span stream, size_t max, const char *want,
                                  enum tr_err err, bool at_boundary)
{
    uint64_t seed = tr_test_seed();
    for (int i = 0; i < 40; i++) {
        struct log log;
        feed(&log, stream, i == 0 ? WHOLE : i == 1 ? SINGLE : RANDOM, &seed, max);
        assert_string_equal(log.text, want);
        assert_int_equal(log.err, err);
        if (err == TR_ERR_AGAIN)
            assert_int_equal(log.at_boundary, at_boundary);
    }
}

static void messages_come_out_whole_however_they_are_cut(void **state)
{
    (void)state;
    struct tr_buf s;
    tr_buf_init(&s);
    put(&s, false, "A");
    put(&s, true, "");
    put(&s, false, "");
    put(&s, true, "a rather longer message that is cut in several places");
    put(&s, false, "B");
    expect_in_three_lives(tr_buf_span(&s), 0,
                          "0:A;1:;0:;1:a rather longer message that is cut in several places;0:B;",
                          TR_ERR_AGAIN, true);
    /* the same stream without its last byte ends inside a message */
    expect_in_three_lives(tr_span(s.ptr, s.len - 1), 0,
                          "0:A;1:;0:;1:a rather longer message that is cut in several places;",
                          TR_ERR_AGAIN, false);
    expect_in_three_lives(tr_span(s.ptr, 3), 0, "", TR_ERR_AGAIN, false);
    tr_buf_fini(&s);
}

static void a_flag_beyond_one_is_refused_at_once(void **state)
{
    (void)state;
    struct tr_buf s;
    tr_buf_init(&s);
    put(&s, false, "A");
    assert_int_equal(tr_buf_push(&s, 2), TR_OK);
    expect_in_three_lives(tr_buf_span(&s), 0, "0:A;", TR_ERR_BAD_GRPC_FRAME, false);
    s.ptr[s.len - 1] = (char)0x80;
    expect_in_three_lives(tr_buf_span(&s), 0, "0:A;", TR_ERR_BAD_GRPC_FRAME, false);
    tr_buf_fini(&s);
}

static void a_message_above_the_limit_is_refused_by_its_header(void **state)
{
    (void)state;
    char head[TR_FRAME_HEADER_BYTES];
    tr_frame_put_header(head, false, 101);
    expect_in_three_lives(tr_span(head, sizeof head), 100, "", TR_ERR_UPSTREAM_OVERSIZED, false);
    tr_frame_put_header(head, false, 100);
    expect_in_three_lives(tr_span(head, sizeof head), 100, "", TR_ERR_AGAIN, false);
    tr_frame_put_header(head, false, UINT32_MAX);
    expect_in_three_lives(tr_span(head, sizeof head), 100, "", TR_ERR_UPSTREAM_OVERSIZED, false);
}

static void a_promise_of_length_takes_no_memory(void **state)
{
    (void)state;
    char stream[TR_FRAME_HEADER_BYTES + 3] = {0};
    struct tr_buf gather;
    struct tr_unframer u;
    struct tr_frame f;
    tr_buf_init(&gather);
    tr_unframer_init(&u, &gather, 0, TR_ERR_BODY_TOO_LARGE);
    tr_frame_put_header(stream, false, UINT32_MAX);
    struct tr_span chunk = tr_span(stream, sizeof stream);
    assert_int_equal(tr_unframer_next(&u, &chunk, &f, NULL), TR_ERR_AGAIN);
    assert_int_equal(gather.len, 3);
    assert_true(gather.cap <= 256);
    tr_buf_fini(&gather);
}

static void a_message_in_one_chunk_is_a_view_of_it(void **state)
{
    (void)state;
    char stream[TR_FRAME_HEADER_BYTES + 3] = {0};
    struct tr_buf gather;
    struct tr_unframer u;
    struct tr_frame f;
    tr_buf_init(&gather);
    tr_unframer_init(&u, &gather, 0, TR_ERR_BODY_TOO_LARGE);
    tr_frame_put_header(stream, true, 3);
    struct tr_span chunk = tr_span(stream, sizeof stream);
    assert_int_equal(tr_unframer_next(&u, &chunk, &f, NULL), TR_OK);
    assert_ptr_equal(f.message.ptr, stream + TR_FRAME_HEADER_BYTES);
    assert_true(f.compressed);
    assert_null(gather.ptr);
    tr_buf_fini(&gather);
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    char stream[TR_FRAME_HEADER_BYTES + 3] = {0};
    struct tr_buf gather;
    struct tr_unframer u;
    struct tr_frame f;
    tr_buf_init(&gather);
    tr_unframer_init(&u, &gather, 0, TR_ERR_BODY_TOO_LARGE);
    tr_frame_put_header(stream, false, 4);
    struct tr_span chunk = tr_span(stream, sizeof stream);
    tr_alloc_fail_after(1);
    enum tr_err err = tr_unframer_next(&u, &chunk, &f, NULL);
    tr_alloc_fail_after(0);
    assert_int_equal(err, TR_ERR_NOMEM);
    tr_buf_fini(&gather);
}

static void headers_are_big_endian(void **state)
{
    (void)state;
    char head[TR_FRAME_HEADER_BYTES];
    tr_frame_put_header(head, true, 0x01020384);
    assert_memory_equal(head, "\x01\x01\x02\x03\x84", 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_out_whole_however_they_are_cut),
        cmocka_unit_test(a_flag_beyond_one_is_refused_at_once),
        cmocka_unit_test(a_message_above_the_limit_is_refused_by_its_header),
        cmocka_unit_test(a_promise_of_length_takes_no_memory),
        cmocka_unit_test(a_message_in_one_chunk_is_a_view_of_it),
        cmocka_unit_test(running_out_of_memory_is_an_error),
        cmocka_unit_test(headers_are_big_endian),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
