#!/usr/bin/env python3
"""Floods, bombs and stalls against the gateway, over HTTP/2 and HTTP/1.1.

Usage: TRANSOM=build/release/src/gateway/transom floods.py [NAME...]      a NAME may be the beginning of one

For each attack: its connection is ended (or the work bounded, where the text says so), the memory of the gateway grows by less than
GROWTH_MIB, an honest client on the same thread is served all the while, the counter that names it moves, and nothing stays behind. The
last line is "N passed, N failed, N skipped"; an attack that failed is tried once more, and named; exits 1 when one failed. Works with a sanitizer build too (memory is then given four times
as much).
"""
import os
import sys
import time

from flood_world import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY, RST, SETTINGS,
                         Backend, Gateway, Honest, Raw, errors_of, frame, get, hstring, literal, post, request_block, sum_of, varint,
                         window_update)

GROWTH_MIB, SLOWEST_S = 32, 2.0
ATTACKS = []
CALM = b"\x00\x00\x00\x08"  # CANCEL, as a client says it


def attack(*counters, growth=GROWTH_MIB):
    """counters: one of these reasons must be counted."""
    def add(fn):
        ATTACKS.append((fn.__name__, fn, counters, growth))
        return fn
    return add


def ids(n, first=1):
    return range(first, first + 2 * n, 2)


def flood(gw, chunks, reading=True, settle=1.0, **options):
    """An HTTP/2 connection that sends chunks; it must be ended while it does, or soon after."""
    c = Raw(gw.port, h2=True, **options)
    over = c.pump(chunks, reading)
    if not c.ended:
        c.read(settle if reading else 3.0)
    c.close()
    return over or c.ended or bool(c.goaway), c.how()


def grouped(items, n):
    """The items joined, n at a time."""
    part = []
    for item in items:
        part.append(item)
        if len(part) == n:
            yield b"".join(part)
            part = []
    if part:
        yield b"".join(part)


# ---- HTTP/2: resets ------------------------------------------------------------------------------------------------


@attack("H2_RESETS")
def rapid_reset(gw):
    ok, how = flood(gw, grouped((get(i) + frame(RST, 0, i, CALM) for i in ids(20000)), 50))
    return ok, how


@attack("H2_RESETS")
def rapid_reset_of_streams_and_bodies(gw):
    return flood(gw, grouped((post(i) + frame(DATA, 0, i, b"{") + frame(RST, 0, i, CALM) for i in ids(20000)), 20))


@attack("H2_RESETS", "H2_FLOOD")
def rapid_reset_without_reading(gw):
    return flood(gw, grouped((get(i) + frame(RST, 0, i, CALM) for i in ids(50000)), 50), reading=False, receive_buffer=4096)


def made(gw, provoke, opening=post, n=2000, each=50):
    """Streams that the gateway itself must reset, never more at once than are allowed."""
    c = Raw(gw.port, h2=True)
    for group in grouped((opening(i) + provoke(i) for i in ids(n)), each):
        had = len(c.resets)
        over = c.pump([group])
        end = time.monotonic() + 0.5
        while not over and len(c.resets) < had + each and time.monotonic() < end:
            over = c.read(0.02) or bool(c.goaway)
        if over:
            break
    c.read(1.0)
    c.close()
    return c.ended or bool(c.goaway), c.how()


@attack("H2_RESETS", "H2_PROTOCOL")
def reset_by_window_overflow(gw):
    return made(gw, lambda i: window_update(i, 0x7FFFFFFF))


@attack("H2_RESETS", "H2_PROTOCOL")
def reset_by_window_update_of_zero(gw):
    return made(gw, lambda i: window_update(i, 0))


@attack("H2_RESETS", "H2_PROTOCOL")
def reset_by_data_after_the_end(gw):
    return made(gw, lambda i: frame(DATA, 0, i, b"x"), opening=get)


@attack("H2_RESETS", "H2_PROTOCOL")
def reset_by_priority_on_itself(gw):
    return made(gw, lambda i: frame(PRIORITY, 0, i, i.to_bytes(4, "big") + b"\x10"))


@attack("H2_RESETS", "H2_PROTOCOL")
def reset_by_priority_of_wrong_size(gw):
    return made(gw, lambda i: frame(PRIORITY, 0, i, b"\x00\x00"))


@attack("H2_RESETS", "H2_PROTOCOL")
def reset_by_content_length(gw):
    return made(gw, lambda i: frame(DATA, END_STREAM, i, b"{}"), opening=lambda i: post(i, fields=[(b"content-length", b"5")]))


@attack("H2_RESETS", "H2_PROTOCOL")
def reset_by_headers_in_the_middle(gw):
    return made(gw, lambda i: frame(HEADERS, END_HEADERS, i, literal(b"x-more", b"1")))


@attack("H2_RESETS", "H2_PROTOCOL")
def reset_by_pseudo_headers_in_trailers(gw):
    return made(gw, lambda i: frame(HEADERS, END_HEADERS | END_STREAM, i, literal(b":path", b"/")))


@attack("H2_RESETS", "H2_PROTOCOL")
def reset_by_missing_pseudo_headers(gw):
    return made(gw, lambda i: b"", opening=lambda i: frame(HEADERS, END_HEADERS | END_STREAM, i, b"\x82"))


@attack("H2_RESETS", "H2_PROTOCOL")
def reset_by_empty_headers(gw):
    return made(gw, lambda i: b"", opening=lambda i: frame(HEADERS, END_HEADERS | END_STREAM, i, b""))


@attack("H2_RESETS", "H2_PROTOCOL")
def reset_by_connection_headers(gw):
    return made(gw, lambda i: b"", opening=lambda i: get(i, fields=[(b"connection", b"close")]))


@attack("H2_RESETS", "H2_FLOOD", "H2_PROTOCOL", "CLIENT_STALLED")
def resets_that_are_never_read(gw):
    """More streams than are allowed, by a client that neither acknowledges SETTINGS nor reads: refusals must not pile up."""
    return flood(gw, grouped((get(i) for i in ids(150000)), 200), reading=False, ack=False, receive_buffer=4096)


@attack("H2_RESETS", "H2_FLOOD", "CLIENT_STALLED")
def resets_behind_a_full_socket(gw):
    """The same when the socket is full, so that no refusal is sent and counted: they must not pile up either."""
    c = Raw(gw.port, h2=True, settings=b"\x00\x04\x7f\xff\xff\xff", ack=False, receive_buffer=4096)
    c.pump([get(1, b"/v1/shelves/1/books:stream") + window_update(0, 0x7FFF0000)], reading=False)
    time.sleep(0.3)
    over = c.pump(grouped((get(i) for i in ids(400000, 3)), 500), reading=False, seconds=4)
    ok = over or c.read(2.0)
    c.close()
    return ok, c.how()


# ---- HTTP/2: frames that carry nothing -----------------------------------------------------------------------------


@attack("H2_FLOOD", "H2_PROTOCOL")
def continuation_flood(gw):
    head = frame(HEADERS, 0, 1, request_block())
    return flood(gw, [head] + [frame(CONTINUATION, 0, 1, literal(b"x-%06d" % i, b"v" * 1000)) for i in range(20000)])


@attack("H2_FLOOD", "H2_PROTOCOL")
def continuation_flood_of_empty_frames(gw):
    return flood(gw, [frame(HEADERS, 0, 1, request_block())] + list(grouped((frame(CONTINUATION, 0, 1) for _ in range(100000)), 500)))


@attack("HEADER_TIMEOUT")
def continuation_that_never_comes(gw):
    return flood(gw, [frame(HEADERS, 0, 1, request_block())], settle=3.0)


@attack("HEADER_TIMEOUT")
def continuation_byte_by_byte(gw):
    """Header fields in tiny frames, one each 200 ms: the time is of the whole section."""
    def drip():
        yield frame(HEADERS, 0, 1, request_block())
        for i in range(15):
            time.sleep(0.2)
            yield frame(CONTINUATION, 0, 1, literal(b"x-%d" % i, b"v"))
    return flood(gw, drip(), settle=2.0)


@attack("H2_FLOOD")
def ping_flood(gw):
    return flood(gw, grouped((frame(PING, 0, 0, b"12345678") for _ in range(200000)), 500))


@attack("H2_FLOOD", "CLIENT_STALLED")
def ping_flood_without_reading(gw):
    return flood(gw, grouped((frame(PING, 0, 0, b"12345678") for _ in range(500000)), 500), reading=False, receive_buffer=4096)


@attack("H2_FLOOD")
def settings_flood(gw):
    return flood(gw, grouped((frame(SETTINGS, 0, 0) for _ in range(100000)), 500))


@attack("H2_FLOOD", "H2_PROTOCOL")
def settings_flood_of_table_sizes(gw):
    one, two = b"\x00\x01\x00\x00\x00\x00", b"\x00\x01\x00\x00\x10\x00"
    return flood(gw, grouped((frame(SETTINGS, 0, 0, (one + two) * 16) for _ in range(50000)), 50))


@attack("H2_FLOOD", "H2_PROTOCOL")
def settings_acks_that_answer_nothing(gw):
    return flood(gw, grouped((frame(SETTINGS, ACK, 0) for _ in range(100000)), 500))


@attack("H2_FLOOD")
def empty_data_flood(gw):
    return flood(gw, [post(1)] + list(grouped((frame(DATA, 0, 1) for _ in range(100000)), 500)))


@attack("H2_FLOOD")
def data_of_padding_only(gw):
    return flood(gw, [post(1)] + list(grouped((frame(DATA, PADDED, 1, b"\x0a" + bytes(10)) for _ in range(100000)), 500)))


@attack("H2_FLOOD")
def priority_flood(gw):
    return flood(gw, grouped((frame(PRIORITY, 0, i, b"\x00\x00\x00\x00\x10") for i in ids(100000)), 500))


@attack("H2_FLOOD")
def window_update_flood(gw):
    return flood(gw, grouped((window_update(0, 1) for _ in range(100000)), 500))


@attack("H2_FLOOD")
def window_update_flood_on_a_stream(gw):
    return flood(gw, [post(1)] + list(grouped((window_update(1, 1) for _ in range(100000)), 500)))


@attack("H2_FLOOD", "H2_PROTOCOL")
def flood_of_unknown_frames(gw):
    return flood(gw, grouped((frame(0x42, 0, 0) for _ in range(200000)), 500))


@attack()
def goaway_flood(gw):
    return flood(gw, grouped((frame(GOAWAY, 0, 0, bytes(8)) for _ in range(100000)), 500))


@attack("H2_PROTOCOL")
def frame_of_too_many_bytes(gw):
    return flood(gw, [frame(PING, 0, 0, bytes(20000))] * 10)


# ---- HTTP/2: bombs -------------------------------------------------------------------------------------------------


def bomb_block(references, size=3900):
    """A dynamic entry of `size` bytes and references to it, a byte each."""
    return request_block() + b"\x40" + hstring(b"x-bomb") + hstring(b"b" * size) + b"\xbe" * references


@attack("H2_FLOOD", "H2_PROTOCOL")
def hpack_bomb(gw):
    head, *rest = [bomb_block(10000)[i:i + 16000] for i in range(0, len(bomb_block(10000)), 16000)]
    c = [frame(HEADERS, END_STREAM | (0 if rest else END_HEADERS), 1, head)]
    c += [frame(CONTINUATION, 0, 1, r) for r in rest[:-1]] + [frame(CONTINUATION, END_HEADERS, 1, r) for r in rest[-1:]]
    return flood(gw, c)


@attack("HEADERS_TOO_LARGE", "H2_FLOOD", "H2_PROTOCOL")
def hpack_bombs_just_above_the_limit(gw):
    """Each section decodes to 100 KiB of at most 64; many at once. Answered 431, and bounded."""
    c = Raw(gw.port, h2=True)
    c.pump(grouped((frame(HEADERS, END_HEADERS, i, bomb_block(25)) for i in ids(500)), 10))
    c.read(0.5)
    c.close()
    return c.received > 0, c.how()


@attack()
def hpack_bombs_just_below_the_limit(gw):
    """60 KiB of header section from 4 KiB and then from 100 bytes each, on as many open streams as there may be: bounded."""
    c = Raw(gw.port, h2=True)
    first = frame(HEADERS, END_HEADERS, 1, request_block(b"/v1/shelves", b"POST") + b"\x40" + hstring(b"x-bomb") + hstring(b"b" * 3900) + b"\xbe" * 13)
    more = (frame(HEADERS, END_HEADERS, i, request_block(b"/v1/shelves", b"POST") + b"\xbe" * 14) for i in ids(2000, 3))
    c.pump([first, *more])
    c.read(0.5)
    c.close()
    return True, c.how()


@attack("H2_FLOOD", "H2_PROTOCOL")
def header_count_bomb(gw):
    return flood(gw, [frame(HEADERS, END_HEADERS | END_STREAM, 1, request_block() + b"\x90" * 16000)])


@attack("TOO_MANY_HEADERS", "H2_FLOOD")
def header_count_above_the_limit(gw):
    c = Raw(gw.port, h2=True)
    c.pump(grouped((frame(HEADERS, END_HEADERS | END_STREAM, i, request_block() + b"\x90" * 300) for i in ids(1000)), 20))
    c.read(0.5)
    c.close()
    return c.received > 0, c.how()


# ---- HTTP/2: windows and time --------------------------------------------------------------------------------------

NO_WINDOW = b"\x00\x04\x00\x00\x00\x00"


@attack("CLIENT_STALLED")
def stalled_windows(gw):
    """A hundred endless answers and no window for any."""
    return flood(gw, [b"".join(get(i, b"/v1/shelves/1/books:stream") for i in ids(100))], settings=NO_WINDOW, settle=4.0)


@attack("CLIENT_STALLED")
def stalled_connection_window(gw):
    """Windows of streams are wide open, that of the connection is not: 64 KiB for all."""
    return flood(gw, [b"".join(get(i, b"/v1/shelves/1/books:stream") for i in ids(100))], settings=b"\x00\x04\x7f\xff\xff\xff", settle=4.0)


@attack("CLIENT_STALLED")
def a_socket_that_is_never_read(gw):
    c = Raw(gw.port, h2=True, settings=b"\x00\x04\x7f\xff\xff\xff", receive_buffer=4096)
    c.pump([b"".join(get(i, b"/v1/shelves/1/books:stream") for i in ids(100)) + window_update(0, 0x7FFF0000)], reading=False)
    time.sleep(2.5)
    ok = c.read(3.0)
    c.close()
    return ok, c.how()


@attack("CLIENT_STALLED")
def stalled_windows_of_unary_answers(gw):
    """A hundred whole answers of 1 MiB, while max_buffered_bytes is 8 MiB."""
    return flood(gw, [b"".join(get(i, b"/v1/shelves/1/notes/n") for i in ids(100))], settings=NO_WINDOW, settle=4.0)


@attack()
def large_answers_side_by_side(gw):
    """The same for a client that reads: what holds the answers back must not hold them for ever."""
    c = Raw(gw.port, h2=True, settings=b"\x00\x04\x7f\xff\xff\xff")
    c.pump([window_update(0, 0x7FFF0000) + b"".join(get(i, b"/v1/shelves/1/notes/n") for i in ids(100))])
    c.until(lambda: c.received > 100 << 20, 10.0)
    c.close()
    return c.received > 100 << 20 and not c.resets, c.how()


@attack("HEADER_TIMEOUT")
def preface_that_stops(gw):
    c = Raw(gw.port)
    c.sock.sendall(PREFACE[:10])
    ok = c.read(3.0)
    c.close()
    return ok, c.how()


@attack("HEADER_TIMEOUT")
def preface_without_settings(gw):
    c = Raw(gw.port)
    c.sock.sendall(PREFACE)
    ok = c.read(3.0)
    c.close()
    return ok, c.how()


@attack("BODY_TIMEOUT")
def bodies_that_stop(gw):
    """A hundred uploads without a byte: each is answered 408."""
    c = Raw(gw.port, h2=True)
    c.pump([b"".join(post(i) for i in ids(100))])
    c.read(2.0)
    c.close()
    return c.frames.get(HEADERS, 0) == 100, c.how()


@attack("DEADLINE")
def bodies_of_white_space(gw):
    """A space each 300 ms keeps a body alive but not its call, which has a deadline."""
    c = Raw(gw.port, h2=True)
    c.pump([post(1)])
    for _ in range(14):
        c.read(0.3)
        if c.frames.get(HEADERS):
            break
        c.sock.sendall(frame(DATA, 0, 1, b" "))
    c.close()
    return c.frames.get(HEADERS) == 1, c.how()


@attack("STREAM_IDLE")
def client_streams_of_white_space(gw):
    c = Raw(gw.port, h2=True)
    c.pump([post(1, b"/v1/shelves/1/books:import")])
    for _ in range(16):
        c.read(0.3)
        if c.frames.get(HEADERS):
            break
        c.sock.sendall(frame(DATA, 0, 1, b" "))
    c.close()
    return c.frames.get(HEADERS) == 1, c.how()


@attack()
def grpc_messages_without_end(gw):
    """A unary method is sent 64 MiB of messages that nobody reads: the client's window closes."""
    c = Raw(gw.port, h2=True)
    message = b"\x00" + (1 << 20).to_bytes(4, "big") + b"\x0a" + varint((1 << 20) - 4) + b"s" * ((1 << 20) - 4)
    piece = 16384
    def body():
        yield frame(HEADERS, END_HEADERS, 1, request_block(b"/bookstore.v1.Bookstore/GetShelf", b"POST", [(b"content-type", b"application/grpc"), (b"te", b"trailers")]))
        for n in range(64 * len(message) // piece):
            at = n * piece % len(message)
            yield frame(DATA, 0, 1, (message[at:] + message)[:piece])
    sent = obedient(c, body(), 4.0)
    c.close()
    return sent < 8 << 20 or c.frames.get(HEADERS, 0) > 0, f"{sent >> 10} KiB of body sent, {c.how()}"


def obedient(c, chunks, seconds):
    """Sends DATA only as far as WINDOW_UPDATEs allow; returns how much of it."""
    window, sent, end = {0: 65535, 1: 65535}, 0, time.monotonic() + seconds
    note, left = c.note, []

    def watch(got):
        left.append(got)
        data = b"".join(left)
        at = 0
        while len(data) - at >= 9 and len(data) - at >= 9 + int.from_bytes(data[at:at + 3], "big"):
            n = int.from_bytes(data[at:at + 3], "big")
            if data[at + 3] == 8:
                stream = int.from_bytes(data[at + 5:at + 9], "big")
                window[stream] = window.get(stream, 65535) + int.from_bytes(data[at + 9:at + 13], "big")
            at += 9 + n
        left[:] = [data[at:]]
        note(got)
    c.note = watch
    for chunk in chunks:
        need = len(chunk) - 9 if chunk[3] == DATA else 0
        while min(window.values()) < need and not c.ended and not c.frames.get(HEADERS) and time.monotonic() < end:
            c.read(0.05)
        if min(window.values()) < need or c.ended or c.frames.get(HEADERS):
            break
        try:
            c.sock.sendall(chunk)
        except OSError:
            break
        for s in window:
            window[s] -= need
        sent += need
        c.read(0)
    return sent


# ---- HTTP/1.1 ------------------------------------------------------------------------------------------------------


def h1(gw, chunks, reading=True, settle=1.0, seconds=6.0, **options):
    """A connection that sends chunks; it must end."""
    c = Raw(gw.port, **options)
    c.pump(chunks, reading, seconds)
    if not c.ended:
        c.read(settle)
    c.close()
    return c.ended, c.how()


def status_is(c_how, *statuses):
    return any(f" {s} " in c_how for s in statuses)


@attack("HEADER_TIMEOUT")
def slow_heads(gw):
    """Fifty heads at a byte each 100 ms: each is answered 408 after header_timeout and closed."""
    conns = [Raw(gw.port) for _ in range(50)]
    text = b"GET /v1/shelves/1 HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 100
    for i in range(25):
        for c in conns:
            if not c.ended:
                try:
                    c.sock.sendall(text[i:i + 1])
                except OSError:
                    c.ended = True
        conns[0].read(0.1)
    ended = sum(c.read(2.5) for c in conns)
    for c in conns:
        c.close()
    return ended == 50 and all(b" 408 " in c.data for c in conns), f"{ended} of 50, {conns[0].how()}"


@attack()
def connections_that_say_nothing(gw):
    """Three hundred: closed after keepalive_timeout, and cheap until then."""
    conns = [Raw(gw.port) for _ in range(300)]
    ended = sum(c.read(4.5 if i == 0 else 0.5) for i, c in enumerate(conns))
    for c in conns:
        c.close()
    return ended == 300, f"{ended} of 300"


@attack()
def more_connections_than_allowed(gw):
    """The listener takes 400."""
    conns = []
    refused = 0
    for _ in range(450):
        c = Raw(gw.port)
        conns.append(c)
    time.sleep(0.2)
    for c in conns:
        refused += c.read(0)
    for c in conns:
        c.close()
    return 40 <= refused <= 60, f"{refused} of 450 refused"


more_connections_than_allowed.alone = True  # the honest client would be refused too


@attack("BODY_TIMEOUT")
def slow_body(gw):
    ok, how = h1(gw, [b"POST /v1/shelves HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n{"], settle=5.0)
    return ok and status_is(how, 408), how


@attack("DEADLINE")
def body_byte_by_byte(gw):
    def drip():
        yield b"POST /v1/shelves HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n{"
        for _ in range(15):
            time.sleep(0.3)
            yield b" "
    ok, how = h1(gw, drip(), settle=4.0)
    return ok and status_is(how, 504), how


def never_reads(gw, chunks, blocked=2.0):
    """Sends and does not read until nothing has gone out for so long."""
    c = Raw(gw.port, receive_buffer=4096)
    sent = -1
    while c.sent > sent and not c.ended:
        sent = c.sent
        c.pump(chunks, reading=False, seconds=blocked)
    time.sleep(blocked)
    ok = c.ended or c.read(2.0)
    c.close()
    return ok, c.how()


@attack("CLIENT_STALLED")
def slow_reader(gw):
    return never_reads(gw, iter([b"GET /v1/shelves/1/books:stream HTTP/1.1\r\nhost: a\r\n\r\n"]))


@attack("CLIENT_STALLED")
def pipelining_of_large_answers_without_reading(gw):
    return never_reads(gw, iter([b"GET /v1/shelves/1/notes/n HTTP/1.1\r\nhost: a\r\n\r\n" * 100] * 2000))


@attack()
def pipelining_without_reading(gw):
    """Refusals of 300 bytes: what the client may send is bounded by what it leaves unread."""
    ok, how = never_reads(gw, iter([b"GET /none HTTP/1.1\r\nhost: a\r\n\r\n" * 100] * 2000))
    return ok, how


@attack()
def pipelining(gw):
    """Five thousand at once: answered, in order, by a client that reads."""
    c = Raw(gw.port)
    c.pump([b"GET /v1/shelves/1 HTTP/1.1\r\nhost: a\r\n\r\n" * 100] * 50 + [b"GET /none HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"], seconds=15)
    ok = c.read(15.0)
    c.close()
    return ok and c.received > 5000 * 100, c.how()


CHUNKED = b"POST /v1/shelves HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


@attack("BAD_CHUNK")
def huge_chunk_extension(gw):
    ok, how = h1(gw, [CHUNKED + b"1;"] + [b"e" * 65536] * 256)
    return ok, how


@attack("BAD_CHUNK", "BODY_TOO_LARGE", "DEADLINE")
def chunk_extensions_on_every_chunk(gw):
    return h1(gw, [CHUNKED] + [(b"1;" + b"e" * 200 + b"\r\n \r\n") * 100] * 5000, seconds=8)


@attack("HEADERS_TOO_LARGE", "TOO_MANY_HEADERS", "BAD_CHUNK")
def endless_trailers(gw):
    return h1(gw, [CHUNKED + b"2\r\n{}\r\n0\r\n"] + [b"x-trailer: value\r\n" * 1000] * 1000)


@attack("HEADERS_TOO_LARGE", "TOO_MANY_HEADERS", "BAD_CHUNK")
def endless_trailer_line(gw):
    return h1(gw, [CHUNKED + b"2\r\n{}\r\n0\r\nx: "] + [b"v" * 65536] * 500)


@attack("BODY_TOO_LARGE", "DEADLINE", "BAD_CHUNK")
def endless_chunks_of_one_byte(gw):
    return h1(gw, [CHUNKED] + [b"1\r\n \r\n" * 5000] * 2000, seconds=8)


@attack("BAD_CHUNK")
def endless_chunk_size(gw):
    return h1(gw, [CHUNKED + b"0" * 65536] + [b"0" * 65536] * 100)


@attack("HEADERS_TOO_LARGE", "TOO_MANY_HEADERS")
def endless_head(gw):
    ok, how = h1(gw, [b"GET / HTTP/1.1\r\nhost: a\r\n"] + [b"x: " + b"v" * 1000 + b"\r\n"] * 5000)
    return ok and status_is(how, 431), how


@attack("TOO_MANY_HEADERS")
def too_many_fields(gw):
    ok, how = h1(gw, [b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x:\r\n" * 5000 + b"\r\n"])
    return ok and status_is(how, 431), how


@attack("TARGET_TOO_LONG")
def endless_target(gw):
    ok, how = h1(gw, [b"GET /"] + [b"a" * 65536] * 500)
    return ok and status_is(how, 414), how


@attack("BAD_REQUEST_LINE", "HEADERS_TOO_LARGE", "TARGET_TOO_LONG")
def endless_method(gw):
    return h1(gw, [b"A" * 65536] * 500)


@attack("BAD_REQUEST_LINE", "HEADER_TIMEOUT", "HEADERS_TOO_LARGE")
def endless_empty_lines(gw):
    return h1(gw, [b"\r\n" * 30000] * 2000, settle=2.0)


@attack("ROUTE_NOT_FOUND")
def endless_body_that_nobody_wants(gw):
    """404 at once; at most 64 KiB are drained, then the connection ends."""
    ok, how = h1(gw, [b"POST /none HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n"] + [b"x" * 65536] * 2000, settle=3.0)
    return ok and status_is(how, 404), how


@attack("BODY_TOO_LARGE")
def body_larger_than_allowed(gw):
    ok, how = h1(gw, [CHUNKED] + [b"10000\r\n" + b" " * 65536 + b"\r\n"] * 2000, settle=3.0)
    return ok and status_is(how, 413), how


@attack("CODING_RATIO", "BODY_TOO_LARGE")
def gzip_bomb(gw):
    import zlib
    z = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = z.compress(b" " * (64 << 20)) + z.flush()
    head = b"POST /v1/shelves HTTP/1.1\r\nhost: a\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    ok, how = h1(gw, [head + bomb], settle=0.5)  # it is small: what is left of it is drained, and the connection may go on
    return status_is(how, 413), how


@attack("CODING_RATIO", "BODY_TOO_LARGE", "STREAM_TOO_LARGE")
def gzip_bombs_as_client_streams(gw):
    import zlib
    z = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = z.compress(b'{"book":{"title":"a"}}' * (4 << 20)) + z.flush()
    head = b"POST /v1/shelves/1/books:import HTTP/1.1\r\nhost: a\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    conns = [Raw(gw.port) for _ in range(4)]
    for c in conns:
        c.pump([head + bomb], seconds=2)
    ended = sum(c.read(4.0) for c in conns)
    for c in conns:
        c.close()
    return ended == len(conns) and conns[0].data.startswith(b"HTTP/1.1 4"), conns[0].how()


@attack()
def compressed_client_stream_that_is_allowed(gw):
    """A ratio below the bound, and messages faster than the backend takes them: held, not gathered."""
    import zlib
    z = zlib.compressobj(9, zlib.DEFLATED, 31)
    items = b"".join(b'{"book":{"title":"%s"}}' % (os.urandom(16).hex().encode() * 60) for _ in range(8000))
    body = z.compress(items) + z.flush()
    head = b"POST /v1/shelves/1/books:import HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body)
    c = Raw(gw.port)
    c.pump([head + body], seconds=5)
    ok = c.read(20.0)
    c.close()
    return ok and b" 200 " in c.data and b"8000" in c.data, f"{len(items) >> 10} KiB from {len(body) >> 10}, {c.how()}"


@attack()
def half_closed_at_once(gw):
    """Asks and shuts its side: cancelled, nothing stays."""
    import socket
    for _ in range(200):
        c = Raw(gw.port)
        c.sock.sendall(b"GET /v1/shelves/1/books:stream HTTP/1.1\r\nhost: a\r\n\r\n")
        c.sock.shutdown(socket.SHUT_WR)
        c.read(0.001)
        c.close()
    return True, "200 connections"


@attack()
def strings_that_are_not_utf8(gw):
    """Three answers of 3 MiB of 0xFF: each byte becomes U+FFFD, in time that grows with their length and not with its square."""
    import http.client
    for _ in range(3):
        client = http.client.HTTPConnection("127.0.0.1", gw.port, timeout=10)
        client.request("GET", "/v1/shelves/1/notes/n", headers={"x-bad-text": str(3 << 20)})
        body = client.getresponse().read()
        client.close()
    return body.count("\ufffd".encode()) == 3 << 20, f"{len(body) >> 10} KiB"


# ---- the run -------------------------------------------------------------------------------------------------------


def settled(gw, seconds=6.0):
    """No request under way but the honest client's."""
    end = time.monotonic() + seconds
    while True:
        m = gw.metrics()
        left = sum_of(m, "transom_requests_in_flight"), sum_of(m, "transom_upstream_requests_active")
        if left == (0, 0) or time.monotonic() > end:
            return left == (0, 0), left
        time.sleep(0.02)


def run(gw, name, fn, counters, growth):
    alone = getattr(fn, "alone", False)
    before, rss = gw.metrics(), gw.rss_mib()
    gw.reset_peak()
    start = time.monotonic()
    problems, honest = [], Honest(gw.port)
    if alone:
        ok, how = fn(gw)
    else:
        with honest:
            ok, how = fn(gw)
            spent = time.monotonic() - start
            while time.monotonic() - start < spent + 0.15:
                time.sleep(0.01)
    if gw.process.poll() is not None:
        return [f"the gateway died with {gw.process.returncode}"], how
    grown = gw.peak_mib() - rss
    if not ok:
        problems.append("not ended or not as it should be")
    quiet, left = settled(gw)
    if not quiet:
        problems.append(f"{left} requests (client, upstream) are still under way")
    was, now = errors_of(before), errors_of(gw.metrics())
    moved = {k: int(v - was.get(k, 0)) for k, v in now.items() if v > was.get(k, 0)}
    if counters and not any(moved.get(c) for c in counters):
        problems.append(f"none of {', '.join(counters)} was counted: {moved}")
    if grown > growth * (4 if gw.sanitized else 1):
        problems.append(f"memory grew by {grown:.1f} MiB")
    if not alone:
        if honest.failures:
            problems.append(f"the honest client failed {len(honest.failures)} of {honest.asked} times: {honest.failures[:2]}")
        if honest.asked == 0 or honest.slowest > SLOWEST_S:
            problems.append(f"the honest client was served {honest.asked} times, in {honest.slowest:.2f} s at most")
    counted = ", ".join(f"{k} +{v}" for k, v in moved.items() if not counters or k in counters) or "no counter"
    figures = f"{how}; {counted}; {grown:+.1f} MiB; others {honest.asked} in {honest.slowest * 1000:.0f} ms at most; {time.monotonic() - start:.1f} s"
    return problems, figures


def attempt(gw, name, fn, counters, growth):
    problems, figures = run(gw, name, fn, counters, growth)
    print(f"{'FAIL' if problems else 'ok  '} {name}: {figures}", flush=True)
    for p in problems:
        print(f"     {p}", flush=True)
    return problems, figures


def main():
    transom = os.environ.get("TRANSOM")
    if not transom:
        sys.exit(__doc__)
    build = os.environ.get("TRANSOM_BUILD") or os.path.join(os.path.dirname(os.path.abspath(transom)), "..", "..")
    chosen = [a for a in ATTACKS if len(sys.argv) < 2 or any(a[0].startswith(n) for n in sys.argv[1:])]
    passed = failed = 0
    again = []
    with Backend() as backend:
        gw = Gateway(transom, build, backend.port)
        with Honest(gw.port):  # warm
            time.sleep(0.3)
        for name, fn, counters, growth in chosen:
            problems, _ = attempt(gw, name, fn, counters, growth)
            if problems and gw.process.poll() is None:  # the bounds are of time too, and a machine may be busy: once more
                again.append(f"once more {name}: {'; '.join(problems)}")
                problems, _ = attempt(gw, name, fn, counters, growth)
            if problems:
                again.append(f"FAIL {name}: {'; '.join(problems)}")
            passed, failed = passed + (not problems), failed + bool(problems)
            if gw.process.poll() is not None:
                break
        end = gw.stop()
        print(f"{'FAIL ' + end if end else 'ok  '} the gateway ends in order")
        passed, failed = passed + (not end), failed + bool(end)
    print("\n".join(again))
    print(f"{passed} passed, {failed} failed, {len(chosen) + 1 - passed - failed} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
