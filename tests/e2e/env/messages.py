"""Message classes of the test descriptor sets, in a pool of their own, and protobuf's own JSON for comparison."""
import functools

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

from .build import descriptor_set


class Types:
    def __init__(self, *sets):
        self.pool = descriptor_pool.DescriptorPool()
        seen = set()
        for name in sets:
            files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set(name).read_bytes())
            for file in files.file:
                if file.name not in seen:
                    seen.add(file.name)
                    self.pool.Add(file) if hasattr(self.pool, "Add") else self.pool.AddSerializedFile(file.SerializeToString())

    def __getitem__(self, full_name):
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(full_name))

    def service(self, full_name):
        return self.pool.FindServiceByName(full_name)

    def parse_json(self, full_name, text):
        return json_format.Parse(text, self[full_name](), descriptor_pool=self.pool)

    def to_json(self, message, **options):
        return json_format.MessageToDict(message, descriptor_pool=self.pool, **options)

    def pack(self, message):
        """An Any of this message."""
        any_ = self["google.protobuf.Any"]()
        any_.type_url = "type.googleapis.com/" + message.DESCRIPTOR.full_name
        any_.value = message.SerializeToString()
        return any_


@functools.cache
def types():
    return Types("everything", "bookstore")
