/* The trusted hop of x-forwarded-for, against the rule read word by word: all lines as one list,
 * from the right, until an entry is no address. The first byte says how many hops are trusted; a
 * line feed begins the next line of the header, and a line that begins with '!' is of another. */
#include "fuzz.h"
#include "pipeline/client_addr.h"

#define LINES_MAX   8
#define ENTRIES_MAX 2048

static uint32_t read_lines(char *bytes, size_t size, struct tr_header lines[LINES_MAX])
{
    struct tr_span rest = tr_span(bytes, size);
    uint32_t count = 0;
    while (rest.ptr && count < LINES_MAX) {
        struct tr_span line = tr_span_cut(&rest, '\n');
        bool other = tr_span_starts(line, TR_SPAN("!"));
        lines[count++] =
            (struct tr_header){.name = other ? TR_SPAN("x-other") : TR_SPAN("x-forwarded-for"),
                               .value = other ? tr_span_from(line, 1) : line,
                               .token = other ? TR_TOKEN_NONE : TR_TOKEN_X_FORWARDED_FOR};
    }
    return count;
}

static bool expected(const struct tr_header *lines, uint32_t count, uint32_t hops,
                     struct tr_ip *ret_ip)
{
    static struct tr_span entries[ENTRIES_MAX];
    uint32_t n = 0;
    bool found = false;
    for (uint32_t i = 0; i < count; i++) {
        struct tr_span rest = lines[i].value;
        if (lines[i].token != TR_TOKEN_X_FORWARDED_FOR)
            continue;
        while (rest.ptr) /* an empty line has an empty entry */
            entries[n++] = tr_span_trim(tr_span_cut(&rest, ','));
    }
    for (; n > 0 && hops > 0 && tr_ip_parse_hop(entries[n - 1], ret_ip); n--, hops--)
        found = true;
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tr_header lines[LINES_MAX];
    struct tr_ip got = {.v4 = true}, want = {.v4 = true};
    if (size < 1 || size > ENTRIES_MAX / 2)
        return 0;
    char *bytes = malloc(size);
    FUZZ_CHECK(bytes);
    memcpy(bytes, data, size);
    uint32_t hops = 1 + data[0] % 8, count = read_lines(bytes + 1, size - 1, lines);
    struct tr_headers headers = {.items = lines, .count = count};
    bool found = tr_client_addr_walk(&headers, hops, &got);
    FUZZ_CHECK(found == expected(lines, count, hops, &want));
    FUZZ_CHECK(!found || tr_ip_cmp(&got, &want) == 0);
    free(bytes);
    return 0;
}
