/* br (RFC 7932), by libbrotlidec. */
#include "base/alloc.h"
#include "http/coding_int.h"

#include <brotli/decode.h>

/* brotli's decoder cannot be reset, only made anew. So the blocks that it gives back are kept here
 * and handed out again: a run like the last one then needs no new memory. */
#define BLOCKS 24

struct block {
    size_t size;
    max_align_t bytes[];
};

struct br {
    struct tr_decoder base;
    BrotliDecoderState *state;
    struct block *idle[BLOCKS];
    size_t held;
};

static struct br *br_of(struct tr_decoder *d)
{
    return (struct br *)d;
}

static void *br_alloc(void *opaque, size_t size)
{
    struct br *b = opaque;
    int best = -1;
    for (int i = 0; i < BLOCKS; i++) {
        if (b->idle[i] && b->idle[i]->size >= size && b->idle[i]->size / 4 <= size &&
            (best < 0 || b->idle[i]->size < b->idle[best]->size))
            best = i;
    }
    struct block *block;
    if (best >= 0) {
        block = b->idle[best];
        b->idle[best] = NULL;
        return block->bytes;
    }
    block = size < SIZE_MAX / 2 ? tr_malloc(sizeof *block + size) : NULL;
    if (!block)
        return NULL;
    block->size = size;
    b->held += size;
    return block->bytes;
}

static void br_free(void *opaque, void *ptr)
{
    struct br *b = opaque;
    if (!ptr)
        return;
    struct block *block = (struct block *)(void *)((char *)ptr - offsetof(struct block, bytes));
    for (int i = 0; i < BLOCKS; i++) {
        if (!b->idle[i]) {
            b->idle[i] = block;
            return;
        }
    }
    b->held -= block->size;
    tr_free(block);
}

static void br_close(struct tr_decoder *d)
{
    struct br *b = br_of(d);
    if (b->state)
        BrotliDecoderDestroyInstance(b->state);
    for (int i = 0; i < BLOCKS; i++)
        tr_free(b->idle[i]);
    tr_free(b);
}

static enum tr_err br_open(struct tr_decoder **ret_d)
{
    struct br *b = tr_calloc(1, sizeof *b);
    if (!b)
        return TR_ERR_NOMEM;
    *ret_d = &b->base;
    return TR_OK;
}

static enum tr_err br_reset(struct tr_decoder *d)
{
    struct br *b = br_of(d);
    if (b->state)
        BrotliDecoderDestroyInstance(b->state);
    b->state = NULL;
    return TR_OK;
}

static enum tr_err br_step(struct tr_decoder *d, struct tr_span *in, char *out, size_t cap,
                           size_t *ret_len)
{
    struct br *b = br_of(d);
    *ret_len = 0;
    if (d->done)
        return in->len ? TR_ERR_BAD_CODING : TR_OK;
    if (!b->state) {
        b->state = BrotliDecoderCreateInstance(br_alloc, br_free, b);
        if (!b->state)
            return TR_ERR_NOMEM;
    }
    size_t avail_in = in->len, avail_out = cap;
    const uint8_t *next_in = (const uint8_t *)in->ptr;
    uint8_t *next_out = (uint8_t *)out;
    BrotliDecoderResult r =
        BrotliDecoderDecompressStream(b->state, &avail_in, &next_in, &avail_out, &next_out, NULL);
    if (in->len)
        *in = tr_span_from(*in, in->len - avail_in);
    *ret_len = cap - avail_out;
    if (r == BROTLI_DECODER_RESULT_ERROR) {
        BrotliDecoderErrorCode code = BrotliDecoderGetErrorCode(b->state);
        bool memory = code <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES &&
                      code >= BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES;
        return memory ? TR_ERR_NOMEM : TR_ERR_BAD_CODING;
    }
    if (r == BROTLI_DECODER_RESULT_SUCCESS) {
        d->done = true;
        if (in->len)
            return TR_ERR_BAD_CODING;
    }
    return TR_OK;
}

static size_t br_held(const struct tr_decoder *d)
{
    return ((const struct br *)d)->held;
}

const struct tr_decoder_ops tr_br_ops = {br_open, br_close, br_reset, br_step, br_held};
