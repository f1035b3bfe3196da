"""A decoder of Sparkplug B payloads that knows nothing of our encoder: Google's protobuf with the fields of sparkplug_b.proto."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

FIELD = descriptor_pb2.FieldDescriptorProto
PAYLOAD_FIELDS = (
    ("timestamp", 1, FIELD.TYPE_UINT64),
    ("metrics", 2, FIELD.TYPE_MESSAGE),
    ("seq", 3, FIELD.TYPE_UINT64),
    ("uuid", 4, FIELD.TYPE_STRING),
    ("body", 5, FIELD.TYPE_BYTES),
)
METRIC_FIELDS = (
    ("name", 1, FIELD.TYPE_STRING),
    ("alias", 2, FIELD.TYPE_UINT64),
    ("timestamp", 3, FIELD.TYPE_UINT64),
    ("datatype", 4, FIELD.TYPE_UINT32),
    ("is_historical", 5, FIELD.TYPE_BOOL),
    ("is_transient", 6, FIELD.TYPE_BOOL),
    ("is_null", 7, FIELD.TYPE_BOOL),
    ("int_value", 10, FIELD.TYPE_UINT32),
    ("long_value", 11, FIELD.TYPE_UINT64),
    ("float_value", 12, FIELD.TYPE_FLOAT),
    ("double_value", 13, FIELD.TYPE_DOUBLE),
    ("boolean_value", 14, FIELD.TYPE_BOOL),
    ("string_value", 15, FIELD.TYPE_STRING),
    ("bytes_value", 16, FIELD.TYPE_BYTES),
)
VALUE_FIELDS = tuple(name for name, _, _ in METRIC_FIELDS if name.endswith("_value"))


def payload_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug_b.proto", package="sparkplug", syntax="proto2")
    payload = file.message_type.add(name="Payload")
    metric = payload.nested_type.add(name="Metric")
    for message, fields in ((payload, PAYLOAD_FIELDS), (metric, METRIC_FIELDS)):
        for name, number, kind in fields:
            repeated = kind == FIELD.TYPE_MESSAGE
            added = message.field.add(name=name, number=number, type=kind)
            added.label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
            if repeated:
                added.type_name = ".sparkplug.Payload.Metric"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("sparkplug.Payload"))


PAYLOAD = payload_class()


def decode(encoded: bytes) -> Any:
    """Return the message; its unknown fields would be lost when it is encoded again, so that is compared."""
    message = PAYLOAD.FromString(encoded)
    assert len(encoded) == len(message.SerializeToString())
    return message


def values(message: Any) -> dict[str, tuple[int, object]]:
    """Return the type and the value of each metric; an integer is signed, as Sparkplug has it."""
    return {metric.name: (metric.datatype, metric_value(metric)) for metric in message.metrics}


def metric_value(metric: Any) -> object:
    (name,) = [name for name in (*VALUE_FIELDS, "is_null") if metric.HasField(name)]
    if name == "is_null":
        return None
    value = getattr(metric, name)
    return value - 2**64 if name == "long_value" and value >= 2**63 else value
