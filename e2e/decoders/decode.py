"""Decodes lines of "API VERSION HEX" as kafka-python does, and says which brokers each names."""

import sys

from kafka.protocol.consumer.fetch import FetchResponse
from kafka.protocol.producer.produce import ProduceResponse

CLASSES = {"Produce": ProduceResponse, "Fetch": FetchResponse}


def decode(api, version, body):
    if api not in CLASSES:
        return "not offered"
    answer = CLASSES[api].decode(bytes.fromhex(body), version=int(version))
    return " ".join(f"{n.node_id}@{n.host}:{n.port}" for n in answer.node_endpoints)


for line in sys.stdin:
    try:
        print(decode(*line.split()))
    except Exception as e:  # whatever the library raises is the response
        print(f"error: {e!r}")
