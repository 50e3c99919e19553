#include "gateway/demo_store.h"

#include "base/alloc.h"
#include "base/num.h"
#include "gateway/demo_seed.h"
#include "gateway/demo_wire.h"
#include "proto/wire.h"
#include "transcode/json2pb.h"

#include <stdio.h>

#define ITEMS_MAX      1000
#define NAME_MAX_BYTES 512

enum {
    CODE_OK = 0,
    CODE_INVALID = 3,
    CODE_NOT_FOUND = 5,
    CODE_EXISTS = 6,
    CODE_EXHAUSTED = 8,
    CODE_ABORTED = 10,
    CODE_UNIMPLEMENTED = 12,
    CODE_INTERNAL = 13
};

/* Field numbers of bookstore.v1 that the store itself reads or writes. */
enum {
    NAME = 1,
    BOOK_TITLE = 2,
    BOOK_AUTHORS = 4,
    BOOK_ISBN = 5,
    BOOK_GENRE = 6,
    BOOK_PAGES = 7,
    BOOK_COPIES = 8,
    BOOK_RATING = 10,
    BOOK_IN_PRINT = 12,
    BOOK_TAGS = 14,
    BOOK_PUBLISH = 18,
    BOOK_CREATE = 19,
    BOOK_UPDATE = 20,
    BOOK_ETAG = 35
};

struct item {
    struct tr_buf wire; /* the whole message, name included */
};

struct items {
    struct item *list;
    uint32_t count;
};

struct tr_demo_store {
    const struct tr_msgtype *book, *shelf;
    struct items books, shelves;
    struct tr_buf cover, cover_type; /* the last cover that was uploaded */
    uint64_t next_id;
};

/* ---- items ----------------------------------------------------------------------------------- */

static struct item *find(struct items *items, uint32_t number, struct tr_span value)
{
    for (uint32_t i = 0; i < items->count; i++)
        if (value.len &&
            tr_span_eq(tr_demo_get_text(tr_buf_span(&items->list[i].wire), number), value))
            return &items->list[i];
    return NULL;
}

static struct item *add(struct items *items)
{
    if (items->count == ITEMS_MAX)
        return NULL;
    struct item *item = &items->list[items->count++];
    tr_buf_init(&item->wire);
    return item;
}

static void drop(struct items *items, struct item *item)
{
    tr_buf_fini(&item->wire);
    *item = items->list[--items->count];
}

static enum tr_err seed(const struct tr_msgtype *type, const char *const *json, size_t count,
                        struct items *items)
{
    struct tr_arena scratch;
    struct tr_status st;
    struct tr_json2pb_opts opts = {0};
    enum tr_err err = TR_OK;
    items->list = tr_calloc(ITEMS_MAX, sizeof *items->list);
    if (!items->list)
        return TR_ERR_NOMEM;
    tr_arena_init(&scratch, NULL);
    for (size_t i = 0; !err && i < count; i++)
        err = tr_json2pb(type, &opts, tr_span_cstr(json[i]), &add(items)->wire, &scratch, &st);
    tr_arena_fini(&scratch);
    return err;
}

enum tr_err tr_demo_store_new(const struct tr_typepool *pool, struct tr_demo_store **ret_store)
{
    struct tr_demo_store *s = tr_calloc(1, sizeof *s);
    if (!s)
        return TR_ERR_NOMEM;
    s->book = tr_typepool_find(pool, TR_SPAN("bookstore.v1.Book"));
    s->shelf = tr_typepool_find(pool, TR_SPAN("bookstore.v1.Shelf"));
    enum tr_err err = s->book && s->shelf ? TR_OK : TR_ERR_DESCRIPTOR;
    if (!err)
        err = seed(s->shelf, tr_demo_shelves, sizeof tr_demo_shelves / sizeof tr_demo_shelves[0],
                   &s->shelves);
    if (!err)
        err =
            seed(s->book, tr_demo_books, sizeof tr_demo_books / sizeof tr_demo_books[0], &s->books);
    if (err)
        tr_demo_store_free(s);
    else
        *ret_store = s;
    return err;
}

static void items_fini(struct items *items)
{
    while (items->count)
        tr_buf_fini(&items->list[--items->count].wire);
    tr_free(items->list);
}

void tr_demo_store_free(struct tr_demo_store *store)
{
    if (!store)
        return;
    items_fini(&store->books);
    items_fini(&store->shelves);
    tr_buf_fini(&store->cover);
    tr_buf_fini(&store->cover_type);
    tr_free(store);
}

/* ---- methods --------------------------------------------------------------------------------- */

typedef struct tr_demo_reply method_fn(struct tr_demo_store *s, struct tr_span request, int64_t now,
                                       struct tr_buf *out);

static struct tr_demo_reply reply(unsigned code, const char *text)
{
    return (struct tr_demo_reply){code, tr_span_cstr(text)};
}

static struct tr_demo_reply done(enum tr_err err)
{
    return err ? reply(CODE_EXHAUSTED, "out of memory") : reply(CODE_OK, "");
}

/* The book that a GetBookRequest names: by name, by shelf and book, or by isbn. */
static struct item *requested_book(struct tr_demo_store *s, struct tr_span request)
{
    struct tr_span name = tr_demo_get_text(request, 1), shelf = tr_demo_get_text(request, 2),
                   book = tr_demo_get_text(request, 3), isbn = tr_demo_get_text(request, 4);
    char text[NAME_MAX_BYTES];
    if (isbn.len)
        return find(&s->books, BOOK_ISBN, isbn);
    if (shelf.len && book.len) {
        int n = snprintf(text, sizeof text, "shelves/%.*s/books/%.*s", (int)shelf.len, shelf.ptr,
                         (int)book.len, book.ptr);
        name = n > 0 && (size_t)n < sizeof text ? tr_span(text, (size_t)n) : tr_span("", 0);
    }
    return find(&s->books, NAME, name);
}

static struct tr_demo_reply get_book(struct tr_demo_store *s, struct tr_span request, int64_t now,
                                     struct tr_buf *out)
{
    struct item *item = requested_book(s, request);
    (void)now;
    return item ? done(tr_buf_append(out, tr_buf_span(&item->wire)))
                : reply(CODE_NOT_FOUND, "no such book");
}

static struct tr_demo_reply get_book_summary(struct tr_demo_store *s, struct tr_span request,
                                             int64_t now, struct tr_buf *out)
{
    static const struct {
        uint32_t from, to;
    } texts[] = {{NAME, 1}, {BOOK_TITLE, 2}, {BOOK_ISBN, 4}, {BOOK_PUBLISH, 11}, {BOOK_ETAG, 12}},
      varints[] = {{BOOK_GENRE, 5}, {BOOK_PAGES, 6}, {BOOK_COPIES, 7}, {BOOK_IN_PRINT, 9}};
    struct item *item = requested_book(s, request);
    (void)now;
    if (!item)
        return reply(CODE_NOT_FOUND, "no such book");
    struct tr_span book = tr_buf_span(&item->wire);
    enum tr_err err = TR_OK;
    for (size_t i = 0; !err && i < sizeof texts / sizeof texts[0]; i++) {
        struct tr_span v = tr_demo_get_text(book, texts[i].from);
        err = v.len ? tr_demo_put_text(out, texts[i].to, v) : TR_OK;
    }
    for (size_t i = 0; !err && i < sizeof varints / sizeof varints[0]; i++)
        err = tr_demo_put_varint(out, varints[i].to, tr_demo_get_varint(book, varints[i].from));
    if (!err)
        err = tr_demo_put_text(out, 3, tr_demo_get_text(tr_demo_get_text(book, BOOK_AUTHORS), 1));
    const char *p = book.ptr, *end = book.ptr + book.len;
    struct tr_demo_record r;
    while (!err && tr_demo_next_record(&p, end, &r)) {
        if (r.number == BOOK_TAGS)
            err = tr_demo_put_text(out, 10, r.value);
        else if (r.number == BOOK_RATING && r.whole.len == 9) {
            err = tr_buf_push(out, 8 << 3 | TR_WIRE_FIXED64);
            if (!err)
                err = tr_buf_append(out, tr_span_from(r.whole, 1));
        }
    }
    return done(err);
}

static bool on_shelf(struct tr_span book, struct tr_span parent)
{
    struct tr_span name = tr_demo_get_text(book, NAME);
    if (parent.len == 0 || tr_span_eq(parent, TR_SPAN("shelves/-")))
        return true;
    return tr_span_starts(name, parent) && name.len > parent.len && name.ptr[parent.len] == '/';
}

static bool wanted(struct tr_span book, struct tr_span request)
{
    struct tr_span filter = tr_demo_get_text(request, 5);
    uint64_t genre = tr_demo_get_varint(filter, 1);
    return on_shelf(book, tr_demo_get_text(request, 1)) &&
           (genre == 0 || genre == tr_demo_get_varint(book, BOOK_GENRE));
}

bool tr_demo_store_stream(struct tr_demo_store *store, struct tr_span request, uint32_t i,
                          struct tr_span *ret_book)
{
    for (uint32_t k = 0; k < store->books.count; k++) {
        struct tr_span book = tr_buf_span(&store->books.list[k].wire);
        if (!wanted(book, request) || i-- > 0)
            continue;
        *ret_book = book;
        return true;
    }
    return false;
}

static struct tr_demo_reply list_books(struct tr_demo_store *s, struct tr_span request, int64_t now,
                                       struct tr_buf *out)
{
    uint64_t size = tr_demo_get_varint(request, 2), from = 0;
    struct tr_span token = tr_demo_get_text(request, 3), book;
    (void)now;
    if (size > INT32_MAX)
        return reply(CODE_INVALID, "page_size must not be negative");
    if (token.len && !tr_span_u64(token, &from))
        return reply(CODE_INVALID, "page_token is not one of ours");
    if (size == 0 || size > 50)
        size = 50;
    enum tr_err err = TR_OK;
    uint32_t total = 0;
    for (; !err && tr_demo_store_stream(s, request, total, &book); total++)
        if (total >= from && total < from + size)
            err = tr_demo_put_text(out, 1, book);
    if (!err && from + size < total) {
        char digits[TR_NUM_MAX];
        err = tr_demo_put_text(out, 2, tr_span(digits, tr_num_u64(digits, from + size)));
    }
    return done(err ? err : tr_demo_put_varint(out, 3, total));
}

static struct tr_demo_reply list_authors(struct tr_demo_store *s, struct tr_span request,
                                         int64_t now, struct tr_buf *out)
{
    struct tr_span book;
    enum tr_err err = TR_OK;
    (void)now;
    for (uint32_t i = 0; !err && tr_demo_store_stream(s, request, i, &book); i++) {
        struct tr_span author = tr_demo_get_text(book, BOOK_AUTHORS);
        err = author.len ? tr_demo_put_text(out, 1, author) : TR_OK;
    }
    return done(err);
}

static struct tr_demo_reply create_book(struct tr_demo_store *s, struct tr_span request,
                                        int64_t now, struct tr_buf *out)
{
    struct tr_span parent = tr_demo_get_text(request, 1), id = tr_demo_get_text(request, 2),
                   book = tr_demo_get_text(request, 3);
    char text[NAME_MAX_BYTES];
    if (!find(&s->shelves, NAME, parent))
        return reply(CODE_NOT_FOUND, "no such shelf");
    if (tr_demo_get_text(book, BOOK_TITLE).len == 0)
        return reply(CODE_INVALID, "book.title is required");
    int n = id.len ? snprintf(text, sizeof text, "%.*s/books/%.*s", (int)parent.len, parent.ptr,
                              (int)id.len, id.ptr)
                   : snprintf(text, sizeof text, "%.*s/books/book-%llu", (int)parent.len,
                              parent.ptr, (unsigned long long)++s->next_id);
    if (n < 0 || (size_t)n >= sizeof text)
        return reply(CODE_INVALID, "book_id is too long");
    struct tr_span name = tr_span(text, (size_t)n);
    if (find(&s->books, NAME, name))
        return reply(CODE_EXISTS, "a book of this name exists");
    struct item *item = add(&s->books);
    if (!item)
        return reply(CODE_EXHAUSTED, "the demo's shelves are full");
    enum tr_err err = tr_demo_put_text(&item->wire, NAME, name);
    if (!err)
        err = tr_demo_copy_records(&item->wire, book, NAME, true);
    if (!err)
        err = tr_demo_put_time(&item->wire, BOOK_CREATE, now);
    if (!err)
        err = tr_buf_append(out, tr_buf_span(&item->wire));
    if (err)
        drop(&s->books, item);
    return done(err);
}

/* Replaces what the mask names: a top-level path its whole field, a deeper one by merging. */
static enum tr_err apply_mask(const struct tr_msgtype *type, struct tr_span mask,
                              struct tr_span patch, struct tr_buf *wire)
{
    const char *p = mask.ptr, *end = mask.ptr + mask.len;
    struct tr_demo_record r;
    enum tr_err err = TR_OK;
    while (!err && tr_demo_next_record(&p, end, &r)) {
        struct tr_span path = r.value, top = tr_span_cut(&path, '.');
        const struct tr_field *f = tr_msgtype_field_by_name(type, top);
        if (!f || f->number == NAME)
            continue;
        if (!path.ptr) {
            struct tr_buf kept;
            tr_buf_init(&kept);
            err = tr_demo_copy_records(&kept, tr_buf_span(wire), f->number, true);
            tr_buf_fini(wire);
            *wire = kept;
        }
        if (!err)
            err = tr_demo_copy_records(wire, patch, f->number, false);
    }
    return err;
}

static struct tr_demo_reply update_with(struct tr_demo_store *s, struct tr_span patch,
                                        struct tr_span mask, int64_t now, struct tr_buf *out)
{
    struct item *item = find(&s->books, NAME, tr_demo_get_text(patch, NAME));
    if (!item)
        return reply(CODE_NOT_FOUND, "no such book");
    struct tr_span etag = tr_demo_get_text(patch, BOOK_ETAG);
    if (etag.len && !tr_span_eq(etag, tr_demo_get_text(tr_buf_span(&item->wire), BOOK_ETAG)))
        return reply(CODE_ABORTED, "the book has changed: its etag is another");
    enum tr_err err;
    if (mask.len) {
        err = apply_mask(s->book, mask, patch, &item->wire);
    } else {
        tr_buf_clear(&item->wire);
        err = tr_buf_append(&item->wire, patch);
    }
    if (!err)
        err = tr_demo_put_time(&item->wire, BOOK_UPDATE, now);
    return done(err ? err : tr_buf_append(out, tr_buf_span(&item->wire)));
}

static struct tr_demo_reply update_book(struct tr_demo_store *s, struct tr_span request,
                                        int64_t now, struct tr_buf *out)
{
    struct tr_buf patch, mask;
    tr_buf_init(&patch);
    tr_buf_init(&mask);
    enum tr_err err = tr_demo_get_message(request, 1, &patch);
    if (!err)
        err = tr_demo_get_message(request, 2, &mask);
    struct tr_demo_reply r =
        err ? done(err) : update_with(s, tr_buf_span(&patch), tr_buf_span(&mask), now, out);
    tr_buf_fini(&patch);
    tr_buf_fini(&mask);
    return r;
}

static struct tr_demo_reply delete_book(struct tr_demo_store *s, struct tr_span request,
                                        int64_t now, struct tr_buf *out)
{
    struct item *item = find(&s->books, NAME, tr_demo_get_text(request, 1));
    (void)now;
    (void)out;
    if (!item)
        return reply(CODE_NOT_FOUND, "no such book");
    drop(&s->books, item);
    return done(TR_OK);
}

static struct tr_demo_reply move_book(struct tr_demo_store *s, struct tr_span request, int64_t now,
                                      struct tr_buf *out)
{
    struct tr_span name = tr_demo_get_text(request, 1), to = tr_demo_get_text(request, 2);
    struct item *item = find(&s->books, NAME, name);
    struct tr_buf moved;
    char text[NAME_MAX_BYTES];
    (void)now;
    if (!item)
        return reply(CODE_NOT_FOUND, "no such book");
    if (!find(&s->shelves, NAME, to))
        return reply(CODE_INVALID, "destination must be the name of a shelf");
    size_t slash = tr_span_rfind(name, '/');
    int n = snprintf(text, sizeof text, "%.*s/books/%.*s", (int)to.len, to.ptr,
                     (int)(name.len - slash - 1), name.ptr + slash + 1);
    if (n < 0 || (size_t)n >= sizeof text)
        return reply(CODE_INVALID, "the name is too long");
    tr_buf_init(&moved);
    enum tr_err err = tr_demo_put_text(&moved, NAME, tr_span(text, (size_t)n));
    if (!err)
        err = tr_demo_copy_records(&moved, tr_buf_span(&item->wire), NAME, true);
    if (!err)
        err = tr_buf_append(out, tr_buf_span(&moved));
    if (err) {
        tr_buf_fini(&moved);
        return done(err);
    }
    tr_buf_fini(&item->wire);
    item->wire = moved;
    return done(TR_OK);
}

static struct tr_demo_reply echo_book(struct tr_demo_store *s, struct tr_span request, int64_t now,
                                      struct tr_buf *out)
{
    (void)s;
    (void)now;
    return done(tr_buf_append(out, request));
}

static enum tr_err put_shelf(struct tr_demo_store *s, struct item *item, struct tr_buf *out)
{
    struct tr_span shelf = tr_buf_span(&item->wire), name = tr_demo_get_text(shelf, NAME);
    uint64_t books = 0;
    for (uint32_t i = 0; i < s->books.count; i++)
        books += on_shelf(tr_buf_span(&s->books.list[i].wire), name);
    enum tr_err err = tr_buf_append(out, shelf);
    return err ? err : tr_demo_put_varint(out, 3, books);
}

static struct tr_demo_reply get_shelf(struct tr_demo_store *s, struct tr_span request, int64_t now,
                                      struct tr_buf *out)
{
    struct item *item = find(&s->shelves, NAME, tr_demo_get_text(request, 1));
    (void)now;
    return item ? done(put_shelf(s, item, out)) : reply(CODE_NOT_FOUND, "no such shelf");
}

static struct tr_demo_reply list_shelves(struct tr_demo_store *s, struct tr_span request,
                                         int64_t now, struct tr_buf *out)
{
    struct tr_buf one;
    enum tr_err err = TR_OK;
    (void)request;
    (void)now;
    tr_buf_init(&one);
    for (uint32_t i = 0; !err && i < s->shelves.count; i++) {
        tr_buf_clear(&one);
        err = put_shelf(s, &s->shelves.list[i], &one);
        if (!err)
            err = tr_demo_put_text(out, 1, tr_buf_span(&one));
    }
    tr_buf_fini(&one);
    return done(err);
}

static struct tr_demo_reply create_shelf(struct tr_demo_store *s, struct tr_span request,
                                         int64_t now, struct tr_buf *out)
{
    struct tr_span shelf = tr_demo_get_text(request, 1), id = tr_demo_get_text(request, 2);
    char text[NAME_MAX_BYTES];
    int n = id.len ? snprintf(text, sizeof text, "shelves/%.*s", (int)id.len, id.ptr)
                   : snprintf(text, sizeof text, "shelves/shelf-%llu",
                              (unsigned long long)++s->next_id);
    if (n < 0 || (size_t)n >= sizeof text)
        return reply(CODE_INVALID, "shelf_id is too long");
    if (find(&s->shelves, NAME, tr_span(text, (size_t)n)))
        return reply(CODE_EXISTS, "a shelf of this name exists");
    struct item *item = add(&s->shelves);
    if (!item)
        return reply(CODE_EXHAUSTED, "the demo has no room for more shelves");
    enum tr_err err = tr_demo_put_text(&item->wire, NAME, tr_span(text, (size_t)n));
    if (!err)
        err = tr_demo_copy_records(&item->wire, shelf, NAME, true);
    if (!err)
        err = tr_demo_put_time(&item->wire, 4, now);
    return done(err ? err : put_shelf(s, item, out));
}

static struct tr_demo_reply get_note(struct tr_demo_store *s, struct tr_span request, int64_t now,
                                     struct tr_buf *out)
{
    struct tr_span path = tr_demo_get_text(request, 1);
    (void)s;
    (void)now;
    enum tr_err err = tr_demo_put_text(out, 1, path);
    return done(err ? err : tr_demo_put_text(out, 2, TR_SPAN("A note, wherever you look for it.")));
}

static struct tr_demo_reply download_cover(struct tr_demo_store *s, struct tr_span request,
                                           int64_t now, struct tr_buf *out)
{
    static const struct tr_span svg =
        TR_SPAN_INIT("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"120\" height=\"180\"><rect "
                     "width=\"120\" "
                     "height=\"180\" fill=\"#246\"/></svg>\n");
    (void)now;
    if (!requested_book(s, request))
        return reply(CODE_NOT_FOUND, "no such book");
    bool own = s->cover.len > 0;
    enum tr_err err = tr_demo_put_text(out, 1,
                                       own && s->cover_type.len ? tr_buf_span(&s->cover_type)
                                       : own ? TR_SPAN("application/octet-stream")
                                             : TR_SPAN("image/svg+xml"));
    return done(err ? err : tr_demo_put_text(out, 2, own ? tr_buf_span(&s->cover) : svg));
}

static struct tr_demo_reply upload_cover(struct tr_demo_store *s, struct tr_span request,
                                         int64_t now, struct tr_buf *out)
{
    struct tr_span name = tr_demo_get_text(request, 1), body = tr_demo_get_text(request, 2),
                   data = tr_demo_get_text(body, 2);
    (void)now;
    if (!find(&s->books, NAME, name))
        return reply(CODE_NOT_FOUND, "no such book");
    tr_buf_clear(&s->cover);
    tr_buf_clear(&s->cover_type);
    enum tr_err err = tr_buf_append(&s->cover, data);
    if (!err)
        err = tr_buf_append(&s->cover_type, tr_demo_get_text(body, 1));
    if (!err)
        err = tr_demo_put_text(out, 1, name);
    if (!err)
        err = tr_demo_put_text(out, 2, tr_demo_get_text(body, 1));
    return done(err ? err : tr_demo_put_varint(out, 3, data.len));
}

static const struct {
    struct tr_span name;
    method_fn *fn;
} methods[] = {
    {TR_SPAN_INIT("GetBook"), get_book},         {TR_SPAN_INIT("GetBookSummary"), get_book_summary},
    {TR_SPAN_INIT("ListBooks"), list_books},     {TR_SPAN_INIT("ListAuthors"), list_authors},
    {TR_SPAN_INIT("CreateBook"), create_book},   {TR_SPAN_INIT("UpdateBook"), update_book},
    {TR_SPAN_INIT("DeleteBook"), delete_book},   {TR_SPAN_INIT("MoveBook"), move_book},
    {TR_SPAN_INIT("EchoBook"), echo_book},       {TR_SPAN_INIT("GetShelf"), get_shelf},
    {TR_SPAN_INIT("ListShelves"), list_shelves}, {TR_SPAN_INIT("CreateShelf"), create_shelf},
    {TR_SPAN_INIT("GetNote"), get_note},         {TR_SPAN_INIT("DownloadCover"), download_cover},
    {TR_SPAN_INIT("UploadCover"), upload_cover},
};

struct tr_demo_reply tr_demo_store_call(struct tr_demo_store *store, struct tr_span method,
                                        struct tr_span request, int64_t unix_s, struct tr_buf *out)
{
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (tr_span_eq(methods[i].name, method))
            return methods[i].fn(store, request, unix_s, out);
    return reply(CODE_UNIMPLEMENTED, "no such method");
}
