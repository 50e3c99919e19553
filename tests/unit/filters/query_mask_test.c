#include "filters/query_mask.h"

#include "test.h"

static const struct tr_span configured[] = {TR_SPAN_INIT("My-Token"), TR_SPAN_INIT("")};
static const struct tr_strings names = {configured, 2};

static void check(const char *query, const char *want)
{
    char out[TR_QUERY_MASK_MAX];
    assert_span_equal(tr_query_mask(out, tr_span_cstr(query), &names), want);
}

static void query_mask_leaves_the_rest_as_it_is(void **state)
{
    (void)state;
    check("a=1&b=%20x&c&d=", "a=1&b=%20x&c&d=");
    check("", "");
    check("&&=&a==b", "&&=&a==b");
    check("monkey=1&keys=2&x.key=3&tokens=4", "monkey=1&keys=2&x.key=3&tokens=4");
    char out[TR_QUERY_MASK_MAX];
    assert_int_equal(tr_query_mask(out, tr_span(NULL, 0), &names).len, 0);
}

static void query_mask_hides_credentials_in_every_spelling(void **state)
{
    (void)state;
    check("key=s", "key=***");
    check("a=1&access_token=s.t.u&b=2", "a=1&access_token=***&b=2");
    check("$key=s&$.key=s", "$key=***&$.key=***");
    check("%6bey=s&k%65y=s&KEY=s&%4Bey=s", "%6bey=***&k%65y=***&KEY=***&%4Bey=***");
    check("my-token=s&MY%2dTOKEN=s&my_token=s", "my-token=***&MY%2dTOKEN=***&my_token=s");
    check("key=a=b&key=&key", "key=***&key=***&key");
    check("token=s&jwt=s&password=s&client_secret=s",
          "token=***&jwt=***&password=***&client_secret=***");
}

static void check_url(const char *url, const char *want)
{
    char out[TR_QUERY_MASK_MAX];
    assert_span_equal(tr_query_mask_url(out, tr_span_cstr(url), &names), want);
}

static void query_mask_hides_credentials_in_urls(void **state)
{
    (void)state;
    check_url("https://a.example/key=1", "https://a.example/key=1");
    check_url("https://a.example/p?a=1&k%65y=s&b=?key=2",
              "https://a.example/p?a=1&k%65y=***&b=?key=2");
    check_url("https://a.example/p?access_token=s#key=s", "https://a.example/p?access_token=***");
    check_url("https://a.example/#access_token=s?key=s", "https://a.example/");
    check_url("?key=s", "?key=***");
    check_url("p?", "p?");
    check_url("", "");
}

/* However long the query is and wherever it is cut: no byte of a secret. */
static void query_mask_is_bounded(void **state)
{
    static char query[5000];
    char out[TR_QUERY_MASK_MAX];
    (void)state;
    for (size_t before = 0; before < 1200; before++) {
        size_t n = before;
        memset(query, 'a', n);
        memcpy(query + n, "&key=", 5);
        memset(query + n + 5, 'S', 3000);
        struct tr_span got = tr_query_mask(out, tr_span(query, n + 3005), &names);
        assert_true(got.len <= TR_QUERY_MASK_MAX);
        assert_int_equal(tr_span_find(got, 'S'), got.len);
        query[n] = '?';
        got = tr_query_mask_url(out, tr_span(query, n + 3005), &names);
        assert_true(got.len <= TR_QUERY_MASK_MAX);
        assert_int_equal(tr_span_find(got, 'S'), got.len);
    }
}

static void query_mask_compares_no_further_than_names_go(void **state)
{
    static char query[300];
    char out[TR_QUERY_MASK_MAX];
    (void)state;
    memset(query, 'k', 200);
    memcpy(query + 200, "=1", 2);
    assert_int_equal(tr_query_mask(out, tr_span(query, 202), &names).len, 202);
    check("ke%=1&ke%7=1&%=2", "ke%=1&ke%7=1&%=2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query_mask_leaves_the_rest_as_it_is),
        cmocka_unit_test(query_mask_hides_credentials_in_every_spelling),
        cmocka_unit_test(query_mask_hides_credentials_in_urls),
        cmocka_unit_test(query_mask_is_bounded),
        cmocka_unit_test(query_mask_compares_no_further_than_names_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
