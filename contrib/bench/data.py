"""Makes what the backend answers and what the clients send, from data/*.textproto and a descriptor set."""

import pathlib

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, text_format

HERE = pathlib.Path(__file__).parent
LARGE_BOOKS = 48


def message_classes(descriptor_set):
    files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(descriptor_set).read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for f in files.file:
        pool.Add(f)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def from_text(cls, name):
    return text_format.Parse((HERE / "data" / name).read_text(), cls())


def make_large(cls, medium):
    """48 books, no two alike."""
    answer = cls(next_page_token="eyJvZmZzZXQiOjQ4fQ", total_size=1851)
    for i in range(LARGE_BOOKS):
        book = answer.books.add()
        book.CopyFrom(medium)
        book.name = f"shelves/fiction/books/moby-dick-{i}"
        book.pages += i
        book.copies_sold += i * 7919
        book.rating = 4.25 + i / 100
        book.price.units += i
        book.create_time.seconds += i * 86400
    return answer


def frame(message):
    """One uncompressed gRPC message."""
    data = message.SerializeToString()
    return b"\0" + len(data).to_bytes(4, "big") + data


def make_data(descriptor_set, folder):
    """Writes *.bin for the backend, medium.json for REST clients and *.frame for gRPC ones. Returns sizes for the report."""
    folder = pathlib.Path(folder)
    cls = message_classes(descriptor_set)
    small = from_text(cls("bookstore.v1.BookSummary"), "small.textproto")
    medium = from_text(cls("bookstore.v1.Book"), "medium.textproto")
    large = make_large(cls("bookstore.v1.ListBooksResponse"), medium)
    sizes = {}
    for name, message in (("small", small), ("medium", medium), ("large", large)):
        data = message.SerializeToString()
        text = json_format.MessageToJson(message, indent=None, ensure_ascii=False)
        (folder / f"{name}.bin").write_bytes(data)
        (folder / f"{name}.json").write_text(text)
        sizes[name] = {"protobuf": len(data), "json": len(text.encode())}
    get = cls("bookstore.v1.GetBookRequest")(shelf="fiction", book="moby-dick")
    listing = cls("bookstore.v1.ListBooksRequest")(parent="shelves/fiction")
    for name, message in (("get", get), ("list", listing), ("medium", medium)):
        (folder / f"{name}.frame").write_bytes(frame(message))
    return sizes


def set_for_envoy(descriptor_set, path):
    """The same set without the one method whose rule Envoy 1.40 refuses (response_body of a field that is no HttpBody)."""
    files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(descriptor_set).read_bytes())
    for f in files.file:
        for service in f.service:
            for i in reversed(range(len(service.method))):
                if service.method[i].name == "ListAuthors":
                    del service.method[i]
    pathlib.Path(path).write_bytes(files.SerializeToString())


def all_services(descriptor_set):
    """Full names of every service of a set, read without building a pool: large sets stay cheap."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set)
    return [f"{f.package}.{s.name}".lstrip(".") for f in files.file for s in f.service], len(files.file)
