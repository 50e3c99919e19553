/* What the demo's bookstore has at the start, as JSON of bookstore.v1.Book and Shelf. */
#ifndef TR_GATEWAY_DEMO_SEED_H
#define TR_GATEWAY_DEMO_SEED_H

static const char *const tr_demo_shelves[] = {
    "{\"name\":\"shelves/fiction\",\"theme\":\"Fiction\",\"createTime\":\"2024-01-02T03:04:05Z\"}",
    "{\"name\":\"shelves/science\",\"theme\":\"Science\",\"createTime\":\"2024-01-02T03:04:06Z\"}",
};

static const char *const tr_demo_books[] = {
    "{\"name\":\"shelves/fiction/books/moby-dick\",\"title\":\"Moby-Dick; or, The "
    "Whale\",\"authors\":[{\"name\":\"Herman Melville\","
    "\"country\":\"US\",\"born\":1819}],\"isbn\":\"9780142437247\",\"genre\":\"FICTION\",\"pages\":"
    "720,\"copiesSold\":\"10500000\","
    "\"rating\":4.25,\"inPrint\":true,\"tags\":[\"sea\",\"whale\"],\"publishTime\":\"1851-10-18T00:"
    "00:00Z\",\"price\":{\"currency\":"
    "\"USD\",\"units\":\"18\",\"nanos\":990000000},\"labels\":{\"room\":\"A12\"},\"paper\":{"
    "\"binding\":\"hardcover\"},\"etag\":\"1\"}",
    "{\"name\":\"shelves/fiction/books/emma\",\"title\":\"Emma\",\"authors\":[{\"name\":\"Jane "
    "Austen\",\"country\":\"GB\",\"born\":1775}],"
    "\"isbn\":\"9780141439587\",\"genre\":\"FICTION\",\"pages\":474,\"copiesSold\":\"4200000\","
    "\"rating\":4.05,\"inPrint\":true,"
    "\"tags\":[\"romance\"],\"publishTime\":\"1815-12-23T00:00:00Z\",\"ebook\":{\"fileType\":"
    "\"epub\",\"sizeBytes\":\"734003\"},\"etag\":\"1\"}",
    "{\"name\":\"shelves/fiction/books/"
    "frankenstein\",\"title\":\"Frankenstein\",\"authors\":[{\"name\":\"Mary "
    "Shelley\",\"country\":\"GB\","
    "\"born\":1797}],\"isbn\":\"9780141439471\",\"genre\":\"FICTION\",\"pages\":273,\"rating\":3.9,"
    "\"inPrint\":true,"
    "\"publishTime\":\"1818-01-01T00:00:00Z\",\"etag\":\"1\"}",
    "{\"name\":\"shelves/science/books/origin\",\"title\":\"On the Origin of "
    "Species\",\"authors\":[{\"name\":\"Charles Darwin\","
    "\"country\":\"GB\",\"born\":1809}],\"isbn\":\"9780451529060\",\"genre\":\"SCIENCE\",\"pages\":"
    "576,\"rating\":4.5,\"inPrint\":true,"
    "\"publishTime\":\"1859-11-24T00:00:00Z\",\"etag\":\"1\"}",
};

#endif
