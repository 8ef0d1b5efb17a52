"""The common part of the Python client programs.

Its flags, its one JSON object, its exit codes, and the works that are the same
for each library once it can send a record and read one. The contract itself,
which the programs in other languages keep too, is stated in ../README.md.

A program makes a Client and calls main with it.
"""

import argparse
import base64
import json
import logging
import os
import sys
import threading
import time
import traceback

DONE, FAILED, USAGE, NOT_OFFERED = 0, 1, 2, 3

GRACE = 5.0  # the time for a work to end after its timeout
SURPLUS = 1.0  # how long a consumer waits for records that should not come
JOIN_PAUSE = 0.5  # a rebalance is to end before churn begins another
SETTLE = 10.0  # the time for brokers to learn of a change at one of them
PER_TRANSACTION, ABORT_EVERY = 10, 3


class NotOffered(Exception):
    """A work or an option that a library does not have."""


class Client:
    """One library, as far as the contract goes. A function that is None is not offered."""

    name = ""
    transaction = None  # (options, result)
    admin = None
    token = None

    def version(self):
        raise NotImplementedError

    def check(self, o):
        """Raises NotOffered for an option that the library does not have."""

    def producer(self, o):
        """Something with send(key, value, done) and close(seconds).

        done(error) is called once for each record, by any thread; error is
        None when the record was stored. close waits for all of them.
        """
        raise NotOffered("the library does not produce")

    def consume(self, o, instance, each, stop):
        """One member: each(value) for every record until stop is set, and then
        commits and leaves."""
        raise NotOffered("the library does not consume")

    def addresses(self, o):
        """The brokers' addresses that the library got, as host:port."""
        return []


def parse(argv):
    if not argv:
        raise ValueError("no work named")
    p = argparse.ArgumentParser(prog="client " + argv[0], allow_abbrev=False)
    for name, default, kind in (
        ("bootstrap", "", str), ("broker-version", "", str),
        ("timeout", 60.0, float), ("duration", 10.0, float),
        ("topic", "", str), ("group", "", str), ("from", "", str), ("transactional-id", "", str),
        ("count", 100, int), ("first", 0, int), ("prefix", "r", str), ("size", 0, int), ("rate", 0.0, float),
        ("rack", "", str), ("members", 1, int), ("max-bytes", 0, int), ("static-member", "", str),
        ("replication", 1, int), ("username", "", str), ("password", "", str),
    ):
        p.add_argument("--" + name, default=default, type=kind)
    for name, default, values in (
        ("acks", "all", ("0", "1", "all")),
        ("compression", "none", ("none", "gzip", "snappy", "lz4", "zstd")),
        ("isolation", "uncommitted", ("committed", "uncommitted")),
        ("protocol", "classic", ("classic", "consumer", "share")),
        ("security", "PLAINTEXT", ("PLAINTEXT", "SASL_PLAINTEXT")),
        ("mechanism", "PLAIN", ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")),
    ):
        p.add_argument("--" + name, default=default, choices=values)
    for name in ("idempotent", "churn", "handshake-v0"):
        p.add_argument("--" + name, action="store_true")
    p.error = _usage
    o = p.parse_args(argv[1:])
    o.work = argv[0]
    o.source = getattr(o, "from")
    o.sasl = o.security == "SASL_PLAINTEXT"
    o.transactional_id = o.transactional_id or o.prefix
    need = {"produce": ["topic"], "consume": ["topic", "group"], "transaction": ["topic"], "admin": ["topic"],
            "session": ["topic", "group"], "tail": ["topic"]}.get(o.work, [])
    need += [] if o.work == "version" else ["bootstrap"]
    need += ["group"] if o.source else []
    for name in need:
        if not getattr(o, name):
            raise ValueError(f"{o.work} needs --{name}")
    return o


def _usage(message):
    raise ValueError(message)


class Result:
    """The JSON object. Any thread may call it."""

    def __init__(self, client, version, work):
        self.lock = threading.Lock()
        self.seen = set()
        self.news = threading.Condition(self.lock)
        self.fields = {
            "client": client, "version": version, "work": work, "sent": 0, "acked": 0, "read": 0,
            "distinct": 0, "duplicates": 0, "addresses": [], "details": {},
        }

    def add(self, field, n=1):
        with self.lock:
            self.fields[field] += n

    def get(self, field):
        with self.lock:
            return self.fields[field]

    def detail(self, key, value):
        with self.lock:
            self.fields["details"][key] = value

    def read(self, prefix, value):
        """Counts a record that was read, if it is one of prefix's."""
        n = number(prefix, value)
        if n is None:
            return
        with self.news:
            self.fields["read"] += 1
            if n in self.seen:
                self.fields["duplicates"] += 1
            else:
                self.seen.add(n)
                self.fields["distinct"] += 1
            self.news.notify_all()

    def finish(self, code, error=None):
        """Prints the object and ends the program, whatever threads there are."""
        with self.lock:
            if error is not None:
                self.fields["not_offered" if code == NOT_OFFERED else "error"] = str(error) or repr(error)
            sys.stdout.write("\n" + json.dumps(self.fields, default=str) + "\n")
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def record(o, n):
    """The key and the value of record n."""
    return b"%08d" % n, f"{o.prefix}-{n:08d}".encode().ljust(o.size, b".")


def number(prefix, value):
    """Which of prefix's records this is, or None."""
    start = prefix.encode() + b"-"
    if not value or not bytes(value[: len(start)]) == start:
        return None
    digits = bytes(value[len(start): len(start) + 8])
    return int(digits) if len(digits) == 8 and digits.isdigit() else None


class Pace:
    """Spaces calls evenly, and catches up when it is late."""

    def __init__(self, rate):
        self.interval = 1 / rate if rate else 0
        self.next = time.monotonic()

    def wait(self):
        if self.interval:
            time.sleep(max(0, self.next - time.monotonic()))
            self.next += self.interval


class Load:
    """One producer's records."""

    def __init__(self, client, o, r):
        self.o, self.r = o, r
        self.errored, self.first = 0, None
        self.lock = threading.Lock()
        self.producer = client.producer(o)

    def send(self, n):
        self.r.add("sent")
        try:
            self.producer.send(*record(self.o, n), self.done)
        except Exception as e:  # the library refuses the record at once
            self.done(e)

    def done(self, error):
        if error is None:
            self.r.add("acked")
            return
        with self.lock:
            self.errored += 1
            self.first = self.first or error

    def close(self):
        self.producer.close(self.o.left())
        if self.first:
            self.r.detail("first_error", str(self.first) or repr(self.first))
        if getattr(self.producer, "said", None):  # beside records
            self.r.detail("error_callback", self.producer.said[0])
        if getattr(self.producer, "raised", None):
            self.r.detail("raised_by_poll", self.producer.raised[0])


def produce(client, o, r):
    load, pace = Load(client, o, r), Pace(o.rate)
    for n in range(o.first, o.first + o.count):
        if o.left() <= 0:
            break
        pace.wait()
        load.send(n)
    load.close()
    if load.errored:
        r.detail("errored", load.errored)
        raise RuntimeError(f"{load.errored} records were refused: {str(load.first) or repr(load.first)}")
    if r.get("acked") < o.count:
        raise TimeoutError(f"{r.get('sent')} of {o.count} records sent, {r.get('acked')} acknowledged")


def tail(client, o, r):
    """Sends for a while, whatever happens to the cluster. It reports refused
    records; they are not its own failure."""
    load, pace, n = Load(client, o, r), Pace(o.rate or 100), 0
    end = time.monotonic() + o.duration
    while time.monotonic() < end:
        pace.wait()
        load.send(n)
        n += 1
    flush = time.monotonic()
    load.close()
    r.detail("flush_ms", round(1000 * (time.monotonic() - flush)))
    r.detail("errored", load.errored)
    unheard = r.get("sent") - r.get("acked") - load.errored
    if unheard:
        raise TimeoutError(f"{r.get('sent')} records sent, of {unheard} nothing was heard")


def session(client, o, r):
    """Sends a record every 100 ms and reads them back in the same process, over
    logins that the broker wants renewed."""
    load, pace, n = Load(client, o, r), Pace(o.rate or 10), 0
    group = Group(client, o, r)
    group.join()
    end = time.monotonic() + o.duration
    while time.monotonic() < end:
        pace.wait()
        load.send(n)
        n += 1
    load.close()
    r.detail("failures", load.errored)
    try:
        group.wait_for(r.get("acked"))
    finally:
        group.leave_all()
    if load.errored:
        raise RuntimeError(f"{load.errored} records were refused: {load.first}")


class Group:
    """The members of one group, in one process."""

    def __init__(self, client, o, r):
        self.client, self.o, self.r = client, o, r
        self.members = []
        self.broken = None
        self.rejoins = 0

    def join(self):
        instance = f"{self.o.static_member}-{len(self.members)}" if self.o.static_member else ""
        self.members.append(Member(self, instance))

    def wait_for(self, count):
        with self.r.news:
            while self.r.fields["distinct"] < count:
                if self.broken is not None:
                    raise RuntimeError(f"a member: {str(self.broken) or repr(self.broken)}") from self.broken
                if self.o.left() <= 0:
                    raise TimeoutError(f"{self.r.fields['distinct']} of {count} records read in time")
                self.r.news.wait(0.1)

    def replace(self, i):
        self.members[i].leave()
        self.members[i] = Member(self, self.members[i].instance)
        self.rejoins += 1
        time.sleep(JOIN_PAUSE)

    def leave_all(self):
        for member in self.members:
            member.leave()


class Member(threading.Thread):
    """Ends when it is asked to leave."""

    def __init__(self, group, instance):
        super().__init__(daemon=True)
        self.group, self.instance = group, instance
        self.stop = threading.Event()
        self.start()

    def run(self):
        g = self.group
        try:
            g.client.consume(g.o, self.instance, lambda value: g.r.read(g.o.prefix, value), self.stop)
            if not self.stop.is_set():
                raise RuntimeError("it ended by itself")
        except Exception as e:
            traceback.print_exc()
            g.broken = e

    def leave(self):
        self.stop.set()
        self.join(max(1.0, self.group.o.left()) + GRACE / 2)
        if self.is_alive():
            raise TimeoutError("a member does not leave")


def consume(client, o, r):
    group = Group(client, o, r)
    for _ in range(max(1, o.members)):
        group.join()
    try:
        if o.churn:  # each member is replaced once, spread over the records
            for i in range(len(group.members)):
                group.wait_for(o.count * (i + 1) // (len(group.members) + 1))
                group.replace(i)
        group.wait_for(o.count)
        time.sleep(SURPLUS)
    finally:
        r.detail("rejoins", group.rejoins)
        group.leave_all()
    if group.broken is not None:
        raise RuntimeError(f"a member: {group.broken}") from group.broken


def transactions(o, r, run):
    """Sends the records in transactions: run(records, commit). An aborted one's
    records are gone: acked are the others."""
    outcome = {True: 0, False: 0}
    for first in range(0, o.count, PER_TRANSACTION):
        records = [record(o, n) for n in range(first, min(first + PER_TRANSACTION, o.count))]
        commit = (sum(outcome.values()) + 1) % ABORT_EVERY != 0
        if o.left() <= 0:
            raise TimeoutError(f"{first} of {o.count} records sent in time")
        r.add("sent", len(records))
        run(records, commit)
        r.add("acked", len(records) if commit else 0)
        outcome[commit] += 1
        r.detail("committed", outcome[True])
        r.detail("aborted", outcome[False])


def transform(o, r, one):
    """Runs transactions that read from one topic and write to another, until
    count records are over. one(limit, commit) copies at most limit records,
    returns how many and whether they are committed; of an aborted transaction
    it reads the same records again."""
    outcome, over = {True: 0, False: 0}, 0
    while over < o.count:
        if o.left() <= 0:
            raise TimeoutError(f"{over} of {o.count} records copied in time")
        commit = (sum(outcome.values()) + 1) % ABORT_EVERY != 0
        copied, committed = one(min(PER_TRANSACTION, o.count - over), commit)
        if not copied:
            continue  # nothing was there to copy
        r.add("sent", copied)
        outcome[committed] += 1
        if committed:
            over += copied
            r.add("acked", copied)
        r.detail("committed", outcome[True])
        r.detail("aborted", outcome[False])


class Steps:
    """A work's parts, each with its outcome among the details: "ok", "ok: the
    finding", "not offered: why" or "failed: why"."""

    def __init__(self, o, r):
        self.o, self.r, self.failed = o, r, []

    def do(self, name, step):
        """A step that is tried once. Returns whether it went well."""
        try:
            found = step()
            self.r.detail(name, "ok" if found is None else f"ok: {found}")
            return True
        except NotOffered as e:
            self.r.detail(name, f"not offered: {e}")
        except Exception as e:
            why = str(e) or repr(e)
            self.r.detail(name, f"failed: {why}")
            self.failed.append(f"{name}: {why}")
        return False

    def look(self, name, step):
        """A step that only reads, and is tried again while it fails: brokers
        learn of a change one after the other."""
        end = time.monotonic() + min(SETTLE, max(0, self.o.left()))

        def patiently():
            while True:
                try:
                    return step()
                except NotOffered:
                    raise
                except Exception:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.2)

        return self.do(name, patiently)

    def not_offered(self, name, why):
        self.r.detail(name, f"not offered: {why}")

    def check(self):
        if self.failed:
            raise RuntimeError("; ".join(self.failed))


class Complaints(logging.Handler):
    """Keeps the errors that a library logs and does not raise: why a login was
    refused, or else the last complaint."""

    def __init__(self, logger):
        super().__init__(logging.WARNING)
        self.told = ""
        logging.getLogger(logger).addHandler(self)

    def emit(self, record):
        message = record.getMessage()
        if "SaslAuthenticationFailed" not in self.told or "SaslAuthenticationFailed" in message:
            self.told = message


def expect(got, want, what):
    if got != want:
        raise RuntimeError(f"{what}: got {got}, want {want}")
    return f"{got} {what}"


def unsecured_jwt(subject):
    """A token without a signature, and when it ends, in seconds."""
    def encode(claims):
        return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()

    end = time.time() + 3600
    return f"{encode({'alg': 'none'})}.{encode({'sub': subject, 'iat': time.time() - 60, 'exp': end})}.", end


def main(client):
    """Runs the work that the command line asks for."""
    version = client.version()
    r = Result(client.name, version, sys.argv[1] if len(sys.argv) > 1 else "")
    try:
        o = parse(sys.argv[1:])
    except ValueError as e:
        r.finish(USAGE, e)
    limit = o.timeout + (o.duration if o.work in ("session", "tail") else 0)
    end = time.monotonic() + limit
    o.left = lambda: end - time.monotonic()
    # The program must end even if the library hangs.
    watchdog = threading.Timer(
        limit + GRACE, r.finish, (FAILED, f"still not done {GRACE:g} s after the timeout of {limit:g} s"))
    watchdog.daemon = True
    watchdog.start()
    works = {
        "version": lambda: None,
        "produce": lambda: produce(client, o, r), "consume": lambda: consume(client, o, r),
        "session": lambda: session(client, o, r), "tail": lambda: tail(client, o, r),
        "transaction": client.transaction and (lambda: client.transaction(o, r)),
        "admin": client.admin and (lambda: client.admin(o, r)),
        "token": client.token and (lambda: client.token(o, r)),
    }
    try:
        if o.work not in works:
            raise ValueError(f"unknown work {o.work!r}")
        if works[o.work] is None:
            raise NotOffered(f"{o.work}: the library has none")
        client.check(o)
        works[o.work]()
        if o.work != "version":
            try:
                r.fields["addresses"] = sorted(set(client.addresses(o)))
            except Exception as e:
                r.detail("addresses_error", str(e) or repr(e))
    except NotOffered as e:
        r.finish(NOT_OFFERED, e)
    except Exception as e:
        traceback.print_exc()
        r.finish(FAILED, e)
    r.finish(DONE)
