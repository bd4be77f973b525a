"""Every size, time and count that bounds something, with its unit and its reason.

Names end in the unit. What an operator may change is a field of `config.Config` whose default
is here; what nobody should need to change is used from here directly.
"""

from __future__ import annotations

from typing import Final

# --- HTTP ------------------------------------------------------------------------------------

BODY_BYTES_MAX: Final = 10_485_760
"""Largest request body, inclusive (10 MiB; spec 01 section 12): of administrators, and of sessions
where a route is for many or large rows."""

BODY_BYTES_SESSION: Final = 1_048_576
"""The same of sessions elsewhere: no query or call needs more."""

BODY_BYTES_ANONYMOUS: Final = 65_536
"""The same of callers without a session, of whom anybody may be any number."""

BODY_BYTES_FREE: Final = 65_536
"""Bodies up to this size wait for no room in memory; a connection buffers as much anyway
(`REQUEST_BUFFER_BYTES`)."""

BODIES_BYTES_MAX: Final = 268_435_456
"""Larger bodies that are in memory at the same time (256 MiB). One takes up to three times its size
while it is joined and decoded, for a moment."""

BODIES_ADDRESSES: Final = 8
"""Client addresses that take all of it, each its share (32 MiB, three of the largest bodies)."""

BODIES_WAITING_PER_ADDRESS: Final = 64
"""Bodies of one address that may wait for room, each with what its connection has buffered; those
beyond are refused at once."""

BODIES_WAITING_MAX: Final = 1_024
"""The same of all addresses: 64 MiB of buffers."""

BODY_WAIT_SECONDS_MAX: Final = 10.0
"""How long a body may wait for room; then it is refused with 503 `OVERLOADED`, or 429
`TOO_MANY_BODIES` where its own address has taken it."""

BODY_PACE_BYTES_PER_SECOND: Final = 65_536
"""A body that comes more slowly gives its room up where others wait for it."""

BODY_PACE_SECONDS: Final = 2.0
"""How long it has before its pace is looked at."""

JSON_STEP_BYTES: Final = 65_536
"""JSON that is decoded in one go; the worst of it (nested lists, numbers like 1e300) holds the loop
for 5 ms."""

JSON_VALUES_MAX: Final = 50_000
"""Values of one JSON text, keys not counted: they become objects in one go, which holds the loop
for 5 to 20 ms. Enough for the 10 000 values of a `$in`, or the items of a list field."""

JSON_LIST_VALUES_MAX: Final = 250_000
"""The same of a body that is one long list (operations, pushed changes), which is decoded item by
item: 10 000 rows of 20 fields. They take some 25 MB."""

BODY_READ_SECONDS_MAX: Final = 60.0
"""A body that has not arrived by then is abandoned: 408. Bounds a slow or half-open sender."""

HEADER_BYTES_MAX: Final = 65_536
"""Request line and headers together; beyond it the connection is answered 431 and closed."""

KEEP_ALIVE_SECONDS: Final = 75.0
"""How long an idle HTTP connection is kept; longer than most proxies' 60 s."""

HEAD_READ_SECONDS_MAX: Final = 20.0
"""A connection that has not finished its request head by then is closed (slow-loris)."""

CONNECTIONS_MAX: Final = 20_000
"""Open connections of the process; for one more, idle ones of the most crowded address are cut,
or it is closed at accept. Below common `ulimit -n` values the process raises its soft file limit
towards it at start."""

CONNECTIONS_PER_ADDRESS_MAX: Final = 512
"""HTTP connections of one client address, WebSockets not counted; beyond it idle ones of the same
address are cut, or the new one is. A browser opens six, an office or a school is many browsers."""

CONNECTIONS_SHARES: Final = 16
"""When the process is full, an address with more than this part of all connections also loses those
that it keeps waiting in the midst of a request."""

STREAMS_SHARE_MAX: Final = 0.9
"""Part of the connections that may be live streams where the system allows fewer files than are
wanted; the rest is for requests."""

PATH_SEGMENTS_MAX: Final = 512
"""Segments of a path, each of which is decoded; ids with slashes in them have at most 256."""

QUERY_FIELDS_MAX: Final = 256
"""Fields of one query string; parsing more is work that no client needs."""

GZIP_LEVEL: Final = 1
"""zlib's level for large bodies. Rows shrink to a quarter; level 6 saves a sixth more of that for
three to seven times the time (docs/decisions/0008)."""

GZIP_BYTES_MIN: Final = 8_192
"""Smaller bodies are sent as they are, among them a list of twenty rows, the most usual read."""

GZIP_BYTES_ON_LOOP_MAX: Final = 65_536
"""Larger ones are compressed on a thread; this much holds the loop for a third of a millisecond."""

CORS_PREFLIGHT_SECONDS: Final = 600
"""How long a browser may remember a preflight; browsers cap it at 600 to 7200 themselves."""

ACCESS_LOG_SECONDS: Final = 0.1
"""How long a line of the access log may wait to be written with others."""

ACCESS_LOG_BATCH: Final = 256
"""Lines that are written at once; formatting them holds the interpreter below a millisecond."""

ACCESS_LOG_BATCHES_MAX: Final = 64
"""Batches of the access log that wait to be written, about 3 MB; beyond that requests wait, since
somebody may count on every line."""

ACCESS_LOG_CLOSE_SECONDS: Final = 5.0
"""How long a stop waits for the last lines of the access log, whose reader may be stuck."""

RATE_LIMIT_MAX_PRODUCTION: Final = 600
"""Requests per client address and window in production (spec 01 section 5)."""

RATE_LIMIT_MAX_DEV: Final = 100_000
"""The same in dev, where one page reload may make hundreds of requests."""

RATE_LIMIT_WINDOW_SECONDS: Final = 60
"""Length of the rate-limit window."""

RATE_LIMIT_KEYS_MAX: Final = 100_000
"""Client addresses remembered by a limiter; the stalest goes first."""

# --- Connections (pylon/http connection, websocket and server) ---------------------------------

HEADER_COUNT_MAX: Final = 128
"""Headers of one request; more are answered 431. Also what websockets accepts in a handshake."""

PIPELINED_REQUESTS_MAX: Final = 64
"""Requests of one connection that wait for an earlier answer; one that sends more is closed."""

REQUEST_BUFFER_BYTES: Final = 65_536
"""Body bytes kept before the app asks for them; then reading from the socket pauses."""

RESPONSE_STALL_SECONDS_MAX: Final = 60.0
"""A client must take some of its answer in each span of this length, or is dropped."""

RESPONSE_STALL_BYTES_MIN: Final = 15_360
"""How much that is, or all that is left: 256 bytes a second, which the slowest phone takes."""

UNSENT_BYTES_MAX: Final = 268_435_456
"""Large answers that are made and that their clients have not taken yet, in all (256 MiB); beyond
it the oldest are ended, or new ones refused: 503 `OVERLOADED`."""

UNSENT_BYTES_PER_ADDRESS_MAX: Final = 67_108_864
"""The same for one client address (64 MiB), which may be an office; beyond it new ones are refused.
One answer may always be on its way."""

UNSENT_SECONDS_SAFE: Final = 10.0
"""How long an answer may be on its way before it can be ended to make room: at ten megabits a
second ten megabytes."""

UNSENT_RETRY_SECONDS: Final = 2
"""What a client is told to wait whose answer was refused for lack of room."""

ANSWER_BYTES_SMALL: Final = 65_536
"""Answers up to this size are written at once and not counted as unsent. Larger ones are written in
pieces of this size, the next when the client has taken the one before."""

LINGER_SECONDS_MAX: Final = 5.0
"""How long an unread body is thrown away after an early answer, so that the client sees it."""

LISTEN_BACKLOG: Final = 2_048
"""Connections the kernel keeps for us before accept."""

SOCKET_HANDSHAKE_SECONDS_MAX: Final = 10.0
"""An upgrade that the app has not accepted or refused by then is closed."""

SOCKET_CLOSE_SECONDS_MAX: Final = 5.0
"""How long a close frame waits for its answer (and to be sent) before the socket is cut."""

SOCKET_INBOX_BYTES_MAX: Final = 65_536
"""Bytes of messages that the app has not received yet; then reading pauses."""

SOCKET_INBOX_MESSAGES_MAX: Final = 32
"""The same, counted in messages."""

SOCKET_MINOR_FRAMES_PER_SECOND: Final = 200
"""Frames of one client that complete no message (fragments, pings, pongs), each some 5
microseconds of the loop for nothing; a faster sender is read more slowly."""

SOCKET_MINOR_FRAMES_BURST: Final = 2_000
"""The same at once after a quiet time: a large message comes in as many fragments."""

DEFLATE_LEVEL: Final = 4
"""zlib's level for messages of WebSockets: the one from which on more time saves little
(docs/decisions/0006)."""

DEFLATE_BYTES_MIN: Final = 512
"""Shorter messages are sent as they are: they fit into one packet with or without."""

DEFLATE_BYTES_MAX: Final = 1_048_576
"""Longer ones too: compressing this much holds the loop for 10 ms."""

DEFLATE_WINDOW_BITS: Final = 12
"""zlib's window (4 KiB): costs a third of the usual one to set up, and saves as much within 1 %.
A client that insists on a smaller one gets no compression."""

DEFLATE_MEMORY_LEVEL: Final = 5
"""zlib's `memLevel`, for the same reason."""

DEFLATE_KEPT_BYTES_MAX: Final = 4_194_304
"""Messages kept with their compressed frames, for the other audiences of the same turn and for
readers that are replayed the same."""

SOCKET_PONGS_MISSED_MAX: Final = 2
"""Pings in a row that may stay without any sign of life; then the peer counts as gone."""

WORKER_DRAIN_SECONDS: Final = 10.0
"""How long workers may finish what they have when the service stops; what is left then is begun
anew by whoever starts next, so it is no longer than people wait for a restart."""

LIFESPAN_SECONDS_MAX: Final = 60.0
"""How long the app may take to shut down (checkpoint, close) once its requests are done."""

# --- Storage ---------------------------------------------------------------------------------

READ_BUDGET_SECONDS: Final = 0.003
"""How long a read may hold the event loop before it is moved to a reader thread."""

ANSWER_BYTES_MAX: Final = 16_777_216
"""Text and bytes in the rows of one read (16 MiB), but for a single row. Several may be held at a
time, and each more than once while it becomes an answer."""

ANSWERS_AT_ONCE: Final = 4
"""Graphs and aggregates of one client address that are made at a time; each may have rows of
`ANSWER_BYTES_MAX`, and the same as JSON, in memory until it counts as unsent."""

ANSWERS_WAITING_MAX: Final = 256
"""More of them that may wait for their turn: an office whose pages all load at once."""

ANSWER_BYTES_WHOLE_MAX: Final = 4_194_304
"""Text of the rows of a list that is made at once. What is more is read as the client takes it; a
page of a cursor ends."""

ANSWER_PIECE_BYTES: Final = 262_144
"""About what is read at once of a list that is sent in pieces, or one row; a third of a millisecond
of the loop to encode."""

ANSWER_PIECE_ROWS_MAX: Final = 500
"""Rows read at once of such a list."""

READ_SECONDS_MAX: Final = 10.0
"""A read on a reader thread that takes longer is abandoned: 503 `QUERY_TIMEOUT`."""

READ_PROGRESS_STEPS: Final = 1_000
"""SQLite virtual-machine steps between two looks at the clock; about 20 microseconds of work."""

READ_ON_LOOP_STEPS: Final = 250
"""The same on the loop, where each step may be a function over a text; about 5 microseconds."""

READ_ON_LOOP_BYTES_MAX: Final = 131_072
"""Largest value that a read makes on the loop, since no function over it can be interrupted. A read
that meets a larger one is done on a thread. Writing this much as JSON takes a quarter of a
millisecond, and there may be sixty between two looks at the clock."""

LOOK_ON_LOOP_BYTES_MAX: Final = 2_048
"""The same where texts are looked for in texts, which takes up to a quarter of a millisecond for
this."""

READER_THREADS: Final = 4
"""Threads for reads that outgrow the budget; each has a connection of its own."""

READERS_PER_CALLER_MAX: Final = READER_THREADS - 1
"""Of these one caller has at most so many at a time, so that the others find one free."""

READS_WAITING_MAX: Final = 256
"""Reads that may wait for a reader thread; more are refused with 503 `OVERLOADED`."""

READS_WAITING_PER_CALLER_MAX: Final = 64
"""The same of one caller: many pages of one office that show a sum each."""

WRITES_WAITING_MAX: Final = 10_000
"""Units that may wait for the writer; more are refused with 503 `OVERLOADED`."""

WRITE_BATCH_MAX: Final = 512
"""Units in one commit; keeps a batch below about 20 ms of the loop's time."""

WRITE_BATCH_SECONDS_MAX: Final = 0.02
"""A batch stops taking units after this time on the loop, so reads are not starved."""

WRITE_STEP_SECONDS: Final = 0.003
"""How long units run in one turn of the loop; what is left goes on in the next, in the same
transaction. As long as a read may hold the loop."""

WRITE_QUEUE_SECONDS_MAX: Final = 5.0
"""How long a unit may wait for its batch to begin; then it is refused with 503 `OVERLOADED`."""

WRITE_RETRY_SECONDS: Final = 1
"""What a write that was refused for lack of time is told to wait."""

UNIT_SECONDS_MAX: Final = 10.0
"""How long a unit may go on in steps, with all other writes waiting: 400 `FN_TIMEOUT`. Ours are
bounded by what they write and take milliseconds; a loop in a function may not be."""

UNIT_READ_SECONDS_MAX: Final = 1.0
"""Time for one read inside a unit, for which everybody's writes wait; with an index it takes
microseconds. The loop is held by it for `READ_BUDGET_SECONDS` at most."""

ASIDE_PROGRESS_STEPS: Final = 50_000
"""SQLite virtual-machine steps between two looks at the clock on the commit thread, about a
millisecond of work: each look there waits for the interpreter's lock."""

WRITE_TEXT_SHORT_MAX: Final = 4_096
"""Characters of a text up to which a statement that writes it is not looked at more closely."""

WRITE_TEXT_ON_LOOP_MAX: Final = 65_536
"""Characters of a text up to which a statement writes it on the loop; where it is searchable,
indexing so much holds the loop for some 5 ms. A longer one is written on the commit thread."""

WRITE_TEXT_FOLDED_WEIGHT: Final = 4
"""What a character counts in that where a text has letters beyond ASCII: 16 384 of Chinese are
indexed in 6 ms, 65 536 in 30 ms."""

WRITE_SECONDS_ON_LOOP: Final = 0.01
"""A statement that wrote a text between the two, and took longer twice, writes on the commit thread
for a while: now and then a search index is put in order by the write that fills it."""

HELD_WAIT_SECONDS_MAX: Final = 0.25
"""How long a held unit may wait for the outside world at a time, with all other writes waiting."""

HELD_SECONDS_MAX: Final = 2.0
"""How long a held unit may hold the writer in all."""

HELD_PAUSE_TIMES: Final = 4
"""After a held unit the next may begin when this many times its time have passed, so that they
take at most a fifth of the writer."""

HELD_WAITING_MAX: Final = 16
"""Held units that may wait for their turn; those behind them would hardly get it in time."""

COMPUTE_SECONDS_MAX: Final = 0.05
"""How long a mutation, a query or a hook in a transaction may compute between two waits for the
database: it holds the loop. It is ended after that: `FN_TIMEOUT`."""

COMPUTE_SECONDS_MAX_DEV: Final = 0.25
"""The same in dev, where modules are loaded at the first call and machines do more than serve."""

COMPUTE_AGAIN_SECONDS: Final = 0.01
"""How often code that was ended is interrupted again until it has ended; also how often it is
looked whether anything is over its time."""

COMPUTE_NAMED_SECONDS: Final = 1.0
"""Code that has ignored interrupts for so long is named in the log."""

COMPUTE_STUCK_SECONDS: Final = 10.0
"""After so long the process counts as stuck and is not ready."""

COMMIT_SECONDS_MAX: Final = 10.0
"""A commit that has been under way for so long counts as stuck, and the process is not ready: the
disk does not answer. It is waited for all the same; nobody can take it back."""

STORE_PROBE_SECONDS: Final = 2.0
"""How often it is looked whether the files of a database are still there and, while writes fail,
whether one succeeds; so late does readiness change where nobody writes."""

DISK_FREE_BYTES_MIN: Final = 1_048_576
"""Room on the disk from which on it does not count as full any more: while there is less, small
writes succeed and larger ones do not."""

FEED_SECONDS_MAX: Final = 10.0
"""How long a commit may wait to be sent to streams; beyond it the process is not ready."""

LOOP_HOLD_MILLISECONDS: Final = 50
"""A piece of work that keeps the loop from turning for so long is counted and logged: everybody
else waits meanwhile."""

LOOP_HOLD_MILLISECONDS_DEV: Final = 250
"""The same in dev, where modules are loaded at the first call."""

LOOP_BEAT_SECONDS: Final = 0.02
"""How often it is looked whether the loop turns; a look costs some ten microseconds."""

MEMORY_GIVE_BACK_SECONDS: Final = 30.0
"""How often memory that the allocator holds and nobody uses is given back to the system. On a busy
server what was given back is asked for again, which costs some 10 ms for 50 MiB."""

LOOP_HOLD_SILENCE_SECONDS: Final = 60.0
"""Holds by one place of the code are logged once in so long; all are counted."""

SQLITE_BUSY_MILLISECONDS: Final = 5_000
"""How long SQLite waits for another process's lock (a backup, a shell)."""

SQLITE_CACHE_KIBIBYTES: Final = 16_384
"""Page cache of the writer connection (16 MiB): the pages of the log between two checkpoints, which
alone cannot be mapped from the file. With four times as much an insert among 300 000 rows takes no
less time, and the process 50 MiB more, which it keeps."""

SQLITE_READER_CACHE_KIBIBYTES: Final = 2_048
"""The same of each connection that reads; it maps the file and keeps pages of the log only."""

SQLITE_MMAP_BYTES: Final = 268_435_456
"""Memory-mapped part of the database file (256 MiB, as the reference)."""

WAL_CHECKPOINT_PAGES: Final = 4_000
"""WAL pages after which a checkpoint is made between two batches (about 16 MiB)."""

START_FREE_BYTES: Final = 1_000_000
"""What a start wants of a disk beside the size of its log, for what the operator is told: the index
of the log (32 KiB for 16 MiB of it), its own tables and what they add to the log."""

WAL_BYTES_KEPT: Final = 33_554_432
"""Bytes to which a WAL file that a long read let grow is cut once it can begin anew."""

WAL_BYTES_LONG: Final = 2 * WAL_BYTES_KEPT
"""Bytes from which on a WAL file is asked why it is so long: for a long read, or for a disk that
takes nothing into the database itself, of which no commit tells."""

FREE_PAGES_KEPT: Final = 2_048
"""Free pages that the file keeps for what is written next (8 MiB); more are given back."""

FREE_PAGES_UNIT: Final = 128
"""Free pages that one transaction gives back; about 3 ms, since a page at the end of the file is
moved for each."""

# --- Rows ------------------------------------------------------------------------------------

LIST_ROWS_MAX: Final = 10_000
"""Rows in one list answer when the caller names no limit or a larger one."""

CURSOR_ROWS_DEFAULT: Final = 20
"""Rows in a cursor page (spec 02 section 4.2)."""

CURSOR_CHARACTERS_MAX: Final = 2_000
"""Text of the fields of an order that a cursor holds, so that it fits into a line of 8 KiB."""

CURSOR_ROWS_MAX: Final = 100
"""Largest cursor page (spec 02 section 4.2)."""

COUNT_ROWS_MAX: Final = 10_000
"""Rows counted for an `estimated` total; beyond it the total is a lower bound. Takes about a
millisecond, where a whole count takes as long as a scan."""

SELECTIONS_KEPT: Final = 64
"""Selections of fields of one entity whose decoders are kept; apps ask for a few of their own."""

READ_IDS_RECORDED_MAX: Final = 1_000
"""Rows of one entity in a record of what was read; beyond that it says "any row"."""

# --- Rows that name others -------------------------------------------------------------------

CASCADE_ROWS_MAX: Final = 5_000
"""Rows that are deleted or changed with the one that they name, in its unit: about half a second in
steps, with all other writes waiting. More are refused: 413 `CASCADE_TOO_LARGE`."""

# --- Hooks -----------------------------------------------------------------------------------

HOOK_DEPTH_MAX: Final = 8
"""Writes inside hooks of writes inside hooks; beyond that two of them call each other."""

OUTBOX_ROWS_MAX: Final = 1_000_000
"""Commits that one hook has still to be told of; beyond that its entities take no writes (503),
since a hook that may miss none cannot be left behind for ever."""

OUTBOX_PAGE_ROWS: Final = 50
"""Commits read at once for one hook."""

OUTBOX_SETTLE_SECONDS: Final = 0.25
"""After so much time with a hook it is noted what it was told; a crash repeats no more."""

OUTBOX_LOOK_SECONDS: Final = 30.0
"""A hook that nothing has woken for so long has a look nevertheless."""

OUTBOX_HOOK_SECONDS_MAX: Final = 30.0
"""One call of a hook of commits; one that takes longer has failed."""

OUTBOX_TRIES_MAX: Final = 8
"""Times that a hook is told of a commit before it is put with the dead."""

OUTBOX_WAIT_SECONDS: Final = 1.0
"""Before the second try; each wait is twice the one before, so eight tries take two minutes."""

OUTBOX_ERROR_CHARACTERS_MAX: Final = 1_000
"""What is kept of a failure's text."""

OUTBOX_DEAD_SECONDS: Final = 2_592_000.0
"""How long commits are kept of which a hook could not be told, or whose hook is gone (30 days)."""

OUTBOX_DEAD_MAX: Final = 10_000
"""How many of the dead are kept; the oldest go first."""

OUTBOX_PURGE_ROWS: Final = 10
"""Rows of the outbox that one unit of a purge drops: each holds two rows of an entity, which may be
10 MiB, and freeing their pages takes milliseconds."""

SESSION_HOOK_EVENTS_MAX: Final = 10_000
"""Sessions that began, changed or ended and of which the app's hooks have still to be told, a few
MB; what comes beyond that is not told."""

SESSION_HOOK_SECONDS_MAX: Final = 30.0
"""One call of a hook of sessions; one that takes longer has failed."""

# --- Bulk --------------------------------------------------------------------------------------

TRANSACT_OPERATIONS_MAX: Final = 1_000
"""Operations of one `/api/transact`: one unit, which holds the loop for about 30 ms at most."""

BATCH_OPERATIONS_MAX: Final = 10_000
"""Operations of one `/api/batch`; they are units of their own, so others get their turns."""

BATCH_UNITS_MAX: Final = 256
"""Units that one caller's batch keeps in the writer's queue; they share commits."""

SNAPSHOTS_MAX: Final = 4
"""Snapshots (exports) open at once; each has a thread and a connection, and holds back the WAL."""

SNAPSHOT_SECONDS_MAX: Final = 3_600.0
"""A snapshot that is open for longer is closed, since the WAL grows as long as it is open."""

SNAPSHOT_CHUNK_ROWS: Final = 512
"""Rows that a snapshot hands over at once; about a millisecond of the loop to encode."""

SNAPSHOT_CHUNK_BYTES: Final = 1_048_576
"""Text and blobs of one such chunk after which it ends early; what an export holds in memory."""

IMPORT_BYTES_MAX: Final = 64 * 1024**3
"""Largest body of an import. It is read as a stream, so this bounds time, not memory."""

IMPORT_ROW_BYTES_MAX: Final = 10_485_760
"""Largest row of an import as JSON, as the largest body elsewhere; a larger one is reported."""

CSV_ROW_BYTES_MAX: Final = 1_048_576
"""Largest row of an import as CSV: nothing says where a row ends whose quote was never closed, and
a row is taken apart in one go, which takes up to 10 ms."""

CSV_COLUMNS_MAX: Final = 2_000
"""Cells that the first line of a CSV file may have."""

IMPORT_DEPTH_MAX: Final = 1_000
"""Brackets that may be open at once in an import; the format needs four."""

IMPORT_UNIT_ROWS: Final = 200
"""Rows that an import writes in one unit; about 8 ms of the writer, then others have their turn."""

IMPORT_UNIT_BYTES: Final = 4_194_304
"""JSON bytes of such rows after which the unit is written early."""

IMPORT_HELD_BYTES_MAX: Final = 67_108_864
"""JSON bytes of rows that an import keeps until the rows that they name have come. What has no room
is reported, and comes in when the import is repeated."""

IMPORT_ERRORS_MAX: Final = 100
"""Failed rows that an import's report describes; the others are counted."""

IMPORT_PROGRESS_ROWS: Final = 5_000
"""Rows between two progress lines of an import."""

ERASE_UNIT_ROWS: Final = 500
"""Rows that one transaction of a purge or reset deletes; up to so many go at once or not at all."""

ERASE_REFUSED_MAX: Final = 10_000
"""Rows that refused to go which a purge remembers, to try them again at its end."""

ERASE_ERRORS_MAX: Final = 100
"""Rows that would not go which a purge describes."""

# --- Sync ------------------------------------------------------------------------------------

PULL_ROWS_MAX: Final = 1_000
"""Changes in one pull page. Larger than the reference's 100, so that a first sync does not run
into the rate limit; `has_more` tells the client to go on."""

PULL_BYTES_MAX: Final = 1_048_576
"""Bytes of row data in one pull page after which the page ends early."""

PULL_PAGES_AT_ONCE: Final = 4
"""Pages, of pulls and replays, that are made at once; the others wait for their turn. When all come
back after a restart, other requests are answered between them, and few pages are in memory."""

CHANGE_LOG_RETAIN_SECONDS: Final = 30 * 86_400
"""How long tombstones are kept (`PYLON_CHANGE_LOG_RETAIN`); older cursors get 410."""

TOMBSTONES_MAX: Final = 1_000_000
"""Tombstones that a purge leaves however young they are, about 100 MB; cursors from before those
that went get 410."""

PURGE_UNIT_ROWS: Final = 1_000
"""Rows that one unit of a purge drops; about 3 ms of the writer, then others have their turn."""

UPKEEP_LOOK_SECONDS: Final = 10.0
"""How often it is looked whether upkeep is due, the first time so long after a start: the clients
come back first."""

UPKEEP_RETRY_SECONDS: Final = 300.0
"""How long after a failure upkeep is tried again."""

AUDIENCES_PER_ROW_MAX: Final = 64
"""Distinct earlier audiences remembered per row; beyond it the oldest is dropped and cursors from
before it get 410, so nothing is ever wrong, only slower."""

OUTBOX_BYTES_MAX: Final = 4_194_304
"""Bytes that may wait for one slow reader; beyond it the socket is closed (1013) and the client
pulls what it missed."""

OUTBOX_TOTAL_BYTES_MAX: Final = 1_073_741_824
"""Bytes that may wait for all readers together; beyond it those that are furthest behind are closed
as slow ones are. Readers of one audience wait for the same buffers, which count once."""

FAN_OUT_BYTES: Final = 131_072
"""A turn with more is sent in several writes to each reader, since the loop is held while one is
joined: compressing this much takes about a millisecond."""

FAN_OUT_STEP_READERS: Final = 32
"""Readers that are written to before a slice looks at the clock: a sixth of a millisecond."""

FAN_OUT_STEP_BYTES: Final = 1_048_576
"""Fewer where the bytes for all of them are more than this, which the kernel copies in as long."""

FAN_OUT_SHARE_MAX: Final = 0.7
"""Part of the loop's time that all fan-outs together may take; requests always get the rest."""

CHANGES_SHARE: Final = 0.5
"""Part that the changes of rows may take (docs/decisions/0002)."""

CHANGES_SLICE_SECONDS: Final = 0.003
"""How long one slice of their fan-out holds the loop before requests get their turn."""

PRESENCE_SHARE: Final = 0.2
"""Part that presence and topics may take; rows come first."""

PRESENCE_SLICE_SECONDS: Final = 0.002
"""How long one slice of their relay holds the loop."""

OUTBOX_SECONDS_MAX: Final = 20.0
"""How long bytes may wait for one reader before it counts as gone."""

SOCKET_MESSAGE_BYTES_MAX: Final = 1_048_576
"""Largest message that a client may send on a WebSocket."""

SOCKET_PING_SECONDS: Final = 25.0
"""Interval of protocol pings; below the idle cut of common proxies."""

SOCKETS_PER_ADDRESS_MAX: Final = 64
"""Streaming connections per client address in production; more are answered 429."""

SOCKETS_MAX: Final = 18_000
"""Live streams in all; more are answered 503. Below CONNECTIONS_MAX, so that requests (and
administrators) still get through when everything is full of streams."""

SSE_KEEPALIVE_SECONDS: Final = 30.0
"""Interval of SSE comments (spec 03 section 6)."""

REPLAY_ROWS_MAX: Final = 10_000
"""Changes replayed on connect; a reader further behind is closed and pulls instead."""

PUSH_UNIT_CHANGES: Final = 100
"""Pushed changes that share one unit; about 10 ms of the writer, then others have their turn."""

PUSH_CHANGES_MAX: Final = 10_000
"""Changes of one push that are looked at; the rest stays pending and the client sends it again."""

PUSH_REMEMBER_SECONDS: Final = 30 * 86_400
"""How long `op_id`s and temporary ids are remembered: a phone may be off for weeks between a push
whose answer it never saw and the retry."""

OP_IDS_PER_USER_MAX: Final = 100_000
"""`op_id`s that a purge leaves to one user, the youngest; a phone queues a few thousand at most."""

OP_IDS_MAX: Final = 2_000_000
"""`op_id`s that a purge leaves in all, and temporary ids too: some 200 MB each."""

ONCE_SECONDS: Final = 86_400
"""How long it is remembered what was done under an `Idempotency-Key` (a day): who gets no answer
repeats the request within minutes."""

ONCE_PER_CALLER_MAX: Final = 10_000
"""Units under keys that a purge leaves to one caller, the youngest."""

ONCE_MAX: Final = 200_000
"""Units under keys that a purge leaves in all, of about 200 bytes; of a transaction of a thousand
operations 50 KB."""

ONCE_KEY_CHARACTERS_MAX: Final = 255
"""Longest `Idempotency-Key`; a UUID has 36."""

SYNC_READER_SECONDS: Final = 60 * 86_400
"""How long it is remembered of a session that did not pull what its cursors rest on; twice the
life of a session that is never refreshed."""

OP_ID_CHARACTERS_MAX: Final = 256
"""Longest `op_id`, and longest temporary id; the official client's have about 30."""

JOINING_BYTES_MAX: Final = 4_194_304
"""Live bytes kept for a connection while its replay is read; beyond it it is closed (1013)."""

# --- Presence --------------------------------------------------------------------------------

PRESENCE_DATA_BYTES_MAX: Final = 16_384
"""Largest `data` of a presence or topic message; it is a pointer or a name, not a document."""

PRESENCE_NAME_CHARACTERS_MAX: Final = 256
"""Longest name of a topic, room or event."""

PRESENCE_HELD_BYTES_MAX: Final = 131_072
"""What one socket may have announced of itself in all its topics together; it stays in memory as
long as the socket is open."""

PRESENCE_TOPICS_PER_SOCKET_MAX: Final = 100
"""Topics that one socket hears."""

PRESENCE_TICK_SECONDS: Final = 0.05
"""Relays are at least so far apart; of several updates of a client between two the last counts."""

PRESENCE_BYTES_PER_SECOND: Final = 65_536
"""What one socket may say; one that says more is read more slowly."""

PRESENCE_BYTES_BURST: Final = 262_144
"""The same at once after a quiet time."""

PRESENCE_MESSAGE_BYTES_MIN: Final = 64
"""What the smallest message counts."""

PRESENCE_WAITING_BYTES_MAX: Final = 1_048_576
"""What one topic carries in one relay; of messages beyond it the newest are dropped."""

PRESENCE_LISTED_MAX: Final = 1_000
"""Clients in one list of who is there; it says how many there are in all."""

PRESENCE_LIST_BYTES_MAX: Final = 1_048_576
"""Bytes of such a list after which it ends early."""

PRESENCE_BACKLOG_BYTES_MAX: Final = 262_144
"""A reader that has this much still to take misses what is said meanwhile; rows come first."""

PRESENCE_BEAT_SECONDS: Final = 1.0
"""How often a process tells the others that it is there, and looks who is not any more."""

PRESENCE_GONE_SECONDS: Final = 5.0
"""A process that has not been heard of for so long takes its members along; several beats may be
lost, and a loop be held, before that."""

PRESENCE_ASK_SECONDS: Final = 2.0
"""How long a process may take for a page of who is there; it is asked again at a later beat."""

PRESENCE_NODES_MAX: Final = 256
"""Other processes whose members are seen."""

PRESENCE_OTHERS_MAX: Final = 200_000
"""What is kept of the members of one other process, in entries: a member in a channel."""

PRESENCE_NEWS_BYTES_MAX: Final = 4_194_304
"""Messages to topics that go to other processes in one relay; the newest beyond it stay here."""

PRESENCE_NEWS_KEPT_MAX: Final = 1_024
"""Batches of news kept while the list of a process is fetched; beyond it that is done anew."""

# --- Bus -------------------------------------------------------------------------------------

BUS_TOPIC_CHARACTERS_MAX: Final = 128
"""Longest name of a topic, or of what is asked; they are ours, not people's."""

BUS_MESSAGE_BYTES_MAX: Final = 1_000_000
"""Largest message between processes; common message brokers take 1 MiB with all around it."""

BUS_PAGE_BYTES: Final = 262_144
"""Data of one message after which what is more goes into the next; well below the largest, since
whole members and their names are not cut."""

BUS_QUEUE_MESSAGES_MAX: Final = 1_024
"""Messages of one process that may wait to be heard by another; the newest beyond it are lost."""

BUS_QUESTIONS_WAITING_MAX: Final = 1_024
"""Questions of one process that may wait for their answers."""

RATE_COUNTS_SECONDS: Final = 0.2
"""How often processes tell one another whom they have let through; so long is a caller counted only
where it asked."""

RATE_COUNTS_KEYS_MAX: Final = 4_096
"""Callers that a limiter counts for the others between two such times, some 100 KB; those beyond
are counted only where they asked."""

# --- Auth ------------------------------------------------------------------------------------

SESSION_SECONDS: Final = 2_592_000
"""Life of a session and of its cookie: 30 days, not sliding (spec 04 section 2)."""

SESSIONS_CACHED_MAX: Final = 100_000
"""Sessions kept in memory; others are read from their table when asked for."""

ADMIN_TOKEN_CHARACTERS_MIN: Final = 16
"""Shortest admin token that production accepts."""

SESSION_GRACE_SECONDS: Final = 60
"""How long a refreshed token goes on working, for requests and tabs that still hold it."""

SESSION_SEEN_SECONDS: Final = 300
"""Precision of a session's `last_seen_at`; a finer one would make every request a write."""

SESSION_SWEEP_SECONDS: Final = 60.0
"""Interval of storing when sessions were last used."""

SESSION_LOOK_SECONDS: Final = 0.4
"""How often it is looked whether a session has expired, one indexed read of some microseconds; and
so how late its sockets are closed at most."""

SESSIONS_SWEPT_MAX: Final = 500
"""Sessions that housekeeping deletes or updates in one unit; about 5 ms of the writer."""

SESSIONS_ENDED_KEPT: Final = 10_000
"""Ended sessions remembered for handshakes under way, which take seconds at most."""

SESSIONS_ASKED_AT_ONCE: Final = 50
"""Sessions of open streams that are asked anew after a gap before others get their turn; about a
millisecond of the loop."""

SESSIONS_LISTED_MAX: Final = 1_000
"""Sessions of one user that are listed, the newest first."""

ROLES_CHARACTERS_MAX: Final = 4_096
"""Longest text in a role field of `User` that is read, some hundred roles: it is read with the
session, and each policy that asks for roles goes through them."""

AUTH_BODY_BYTES_MAX: Final = 65_536
"""Largest body of an auth request; its fields are short."""

GUESTS_PER_ADDRESS_MAX: Final = 200
"""Guests that one client address may make at once and per window in production; each is a stored
session, and a school or an office behind one address is many people."""

GUEST_WINDOW_SECONDS: Final = 3_600
"""Length of that window."""

PAIRING_SECONDS: Final = 300
"""How long a pairing code is good: long enough to pick up another device, short enough that a code
left in a chat is worth nothing."""

# --- Schema ----------------------------------------------------------------------------------

MANIFEST_BYTES_MAX: Final = 16_777_216
"""Largest manifest that is read (16 MiB); a thousand full entities take about a tenth of it."""

MANIFEST_DEPTH_MAX: Final = 100
"""Deepest nesting of JSON in a manifest; the format itself needs seven."""

DECIMAL_DIGITS_MAX: Final = 18
"""Digits of a decimal in all: as a whole number of its last digit it has 64 bits."""

FIELD_CHOICES_MAX: Final = 200
"""Values of an enumeration: they are told in errors, schemas and the manifest."""

FIELD_PATTERN_CHARACTERS_MAX: Final = 500
"""Longest pattern of a field."""

FIELD_PATTERN_TEXT_MAX: Final = 10_000
"""Longest text that is compared with a pattern: the time is linear in it, under a millisecond."""

FIELD_FAULTS_MAX: Final = 20
"""Wrong fields that one refusal tells of."""

JSON_FIELD_BYTES_MAX: Final = 65_536
"""Largest value of a `json` or `list` field, as JSON: it is put into one form, written and read on
the loop with its row, some 10 ms where it is all small numbers. What is larger belongs into
rows."""

JSON_ROW_BYTES_MAX: Final = 524_288
"""All `json` and `list` values of a row, as JSON in which a number counts as one digit. Eight
fields reach it; a row of these takes some 15 ms to read and as much to write on the loop, and
each further field 2 ms more."""

LIST_FIELD_ITEMS_MAX: Final = 10_000
"""Items of a `list` field."""

EMAIL_CHARACTERS_MAX: Final = 254
"""Longest address that can be delivered to (RFC 5321, erratum 1690)."""

URL_CHARACTERS_MAX: Final = 2_048
"""Longest URL of a field; what browsers and proxies carry."""

APP_IMPORT_TOLD_SECONDS: Final = 3.0
"""An import of an app's file that takes longer is told of, with the place where it stands: most
such loops never end. Told again after four times as long, and so on."""

INDEX_CONDITION_CHARACTERS_MAX: Final = 1_000
"""Longest condition of a partial index; a person writes a tenth of it. Read at every start."""

INDEX_CONDITION_DEPTH_MAX: Final = 32
"""Deepest nesting of parentheses and NOT in one; each level is a level of the reader's stack."""

ENTITIES_MAX: Final = 1_000
"""Entities of one app; each is a table with indexes, opened and checked at every start."""

SCHEMA_LOOK_SECONDS: Final = 3.0
"""How often a server that is only read looks whether another process migrated its database; one
that writes notices with its next write."""

FIELDS_PER_ENTITY_MAX: Final = 500
"""Fields of one entity; well below SQLite's 2000 columns and 999 bound values of an insert."""

NAME_CHARACTERS_MAX: Final = 128
"""Longest name of an entity, field, index, relation, query, action or policy."""

# --- Pages and the command line --------------------------------------------------------------

PAGE_BYTES_WHOLE_MAX: Final = 1_048_576
"""Static files up to this size are read in one go; larger ones are streamed in chunks."""

PAGE_CHUNK_BYTES: Final = 262_144
"""One chunk of a streamed static file; what one slow download holds in memory."""

DEV_PREPARE_SECONDS_MAX: Final = 60.0
"""`pylon dev`: how long an app file may take to be imported before it counts as stuck."""

DEV_STOP_SECONDS_MAX: Final = 15.0
"""`pylon dev`: how long the old server may take to stop; longer than DRAIN_SECONDS."""

DEV_CHANGE_QUIET_MILLISECONDS: Final = 50
"""`pylon dev`: files must be quiet for this long before a restart; editors write in steps."""

DEV_CHANGES_MILLISECONDS_MAX: Final = 1_000
"""`pylon dev`: files that are never quiet lead to a restart after this time all the same."""

DEV_LOOK_MILLISECONDS: Final = 100
"""`pylon dev`: how often it looks whether the server is still alive."""

# --- Process ---------------------------------------------------------------------------------

DRAIN_SECONDS: Final = 10.0
"""How long a stop waits for requests in flight (`PYLON_DRAIN_SECS`)."""

# --- Pools -----------------------------------------------------------------------------------

POOL_WAIT_SECONDS_MAX: Final = 10.0
"""How long a call may wait for a thread or process of a pool; then it is refused."""

POOL_RETRY_SECONDS: Final = 1
"""What a call that a pool refused is told to wait."""

POOL_IDLE_SECONDS: Final = 60.0
"""A process of a pool that has had nothing to do for so long is ended; starting another takes a
quarter of a second."""

POOL_ANSWER_BUFFER_BYTES: Final = 1_048_576
"""Bytes of an answer that are kept before the process that gives it has to wait."""

POOL_STACK_BYTES: Final = 1 << 29
"""Stack of the thread that works in such a process: libraries recurse into what strangers nest.
Only what is touched of it is real memory."""

POOL_PROCESS_BYTES_MAX: Final = 4 << 30
"""Addresses that such a process may use, its stack included; beyond that it fails alone."""

POOL_PROCESS_KEPT_BYTES: Final = 536_870_912
"""One that has ever taken more memory than this is ended after its answer."""

POOL_NICENESS: Final = 3
"""How much it gives way to the service where processors are few."""

# --- Policies --------------------------------------------------------------------------------

POLICY_CHARACTERS_MAX: Final = 65_536
"""Longest policy expression. Keeps its bound values below SQLite's 32,766 per statement."""

POLICY_NESTING_MAX: Final = 64
"""Nesting budget of an expression: 1 for the whole, 1 a `!`, 2 a parenthesis (spec 05 5.2)."""

POLICY_MEMBERS_REMEMBERED_MAX: Final = 10_000
"""Keys that a live audience keeps of one `exists`; with more the database is asked for each row."""

POLICY_LOOK_SECONDS_MAX: Final = 0.1
"""Time for each look at other rows that an `exists` needs; with an index it takes microseconds."""

POLICY_UNIT_LOOKS_MAX: Final = 10_000
"""Looks for `exists` in all writes of one unit: more than the thousand operations of a transaction
need when each of them asks for several."""

POLICY_UNIT_SECONDS_MAX: Final = 0.5
"""Time for all of them together, for which everybody else's writes wait."""

POLICY_STATEMENT_LOOKS: Final = 50
"""Looks that are asked in one statement; preparing it takes as long as asking."""

POLICY_STATEMENT_VALUES_MAX: Final = 10_000
"""Values bound in such a statement, well below SQLite's 32,766."""

POLICY_SHAPES_CACHED_MAX: Final = 256
"""SQL texts kept per rule, one per pattern of auth-only conditions; when full it starts over."""

POLICY_ADVICE_CONDITIONS_MAX: Final = 200
"""Conditions in a rule of which it is asked whether anybody can pass: each is held against all
others, and a rule of more is made by a program."""

# --- Queries ---------------------------------------------------------------------------------

QUERY_DEPTH_MAX: Final = 16
"""Nesting of `$and`, `$or` and `$not` in one filter; far below SQLite's depth of 1000."""

QUERY_TERMS_MAX: Final = 256
"""Conditions of one filter; keeps statements short to prepare."""

QUERY_ORDER_MAX: Final = 16
"""Fields of one order."""

QUERY_VALUES_MAX: Final = 10_000
"""Values of one `$in` or `$nin`; they travel as one bound JSON list."""

QUERY_PATTERN_CHARACTERS_MAX: Final = 1_000
"""Longest text of `$like` and `$contains`: looking for it in a text takes up to the product of both
lengths, and SQLite cannot be interrupted meanwhile."""

QUERY_LIKE_CHARACTERS_MAX: Final = 50
"""Longest pattern for LIKE, which is forty times slower at that than a plain look for a text: about
a second where the text has 10 MiB and is made for it."""

QUERY_LIKES_CHARACTERS_MAX: Final = 200
"""The same of all of them in one filter. What has no `%` or `_` is looked for plainly beyond it."""

QUERY_PATTERNS_CHARACTERS_MAX: Final = 4_000
"""Characters of all texts that one filter looks for plainly: a second or two in such a text."""

QUERY_ROWS_MAX: Final = 100_000
"""Rows of one query answer. A larger answer is refused, never cut, since a bare list cannot say
that it was."""

GRAPH_ROWS_MAX: Final = 10_000
"""Rows of one graph answer, a related row counted each time it appears."""

GRAPH_DEPTH_MAX: Final = 6
"""Levels of one graph query, the rows asked for included."""

GRAPH_LEVELS_MAX: Final = 32
"""Entities and relations named by one graph query; each is one branch of its statement."""

AGGREGATE_COLUMNS_MAX: Final = 64
"""Columns of one aggregate answer."""

AGGREGATE_GROUPS_MAX: Final = 10_000
"""Groups of one aggregate answer; more are refused."""

# --- Search ----------------------------------------------------------------------------------

SEARCH_CHARACTERS_MAX: Final = 1_000
"""Longest text that is searched for."""

SEARCH_WORDS_MAX: Final = 32
"""Words of one search; each costs a walk through the index."""

SEARCH_RANKED_TERMS_MAX: Final = 64
"""Words by which rows are ordered where not all are seen; each costs a walk through the index. What
people write as one word may be many to the index: `a.b.c`, or a run of letters without spaces."""

SEARCH_PAGE_ROWS: Final = 20
"""Hits of a page when the caller does not say."""

SEARCH_PAGE_ROWS_MAX: Final = 100
"""Hits of a page; more are cut to this (spec 02 section 7.1)."""

SEARCH_FACET_VALUES: Final = 100
"""Values of one facet that are counted, the most frequent first, when the caller does not say."""

SEARCH_FACET_VALUES_MAX: Final = 1_000
"""The most that a caller may ask for."""

SEARCH_FACET_BYTES_MAX: Final = 1_024
"""Longest text that is counted as a value of a facet; people choose among shorter ones."""

SEARCH_INDEXED_CHARACTERS_MAX: Final = 200_000
"""Characters of one row's texts that are indexed, which holds the loop for about 10 ms; what stands
behind them is stored, and not found."""

SEARCH_LATER_BYTES_MAX: Final = 1_048_576
"""Bytes of texts that wait in a transaction to be indexed at its end; the words of so much are made
in a fifth of a second at most, on the commit thread. What comes beyond is indexed row by row."""

SEARCH_FOLDED_AT_ONCE: Final = 8_192
"""Characters of a text that are folded in one piece, which takes a millisecond, with Python's lock:
the loop waits for it, whichever thread does it."""

SEARCH_TYPO_WORDS_MAX: Final = 4
"""Words of a search that found nothing for which similar ones are looked up."""

SEARCH_TYPO_LETTERS_MAX: Final = 40
"""Longest word in which typos are forgiven, and longest that takes its place; a longer one is no
word of a language, and comparing takes longer the longer they are."""

SEARCH_TYPO_SECONDS_MAX: Final = 1.0
"""How long words near a mistyped one may be looked for; after that it is taken as it is spelt."""

SEARCH_TYPO_CANDIDATES_MAX: Final = 500
"""Words of the index that are compared with a mistyped one."""

SEARCH_TYPO_NEIGHBOURS_MAX: Final = 16
"""Similar words that are searched for in place of a mistyped one."""

SEARCH_HIGHLIGHT_CHARACTERS: Final = 240
"""Length of an excerpt; a shorter text is shown whole."""

SEARCH_HIGHLIGHT_CHARACTERS_MAX: Final = 20_000
"""How far into a text words to show are looked for, which takes about two milliseconds."""

SEARCH_HIGHLIGHTS_CHARACTERS_MAX: Final = 1_000_000
"""The same of all texts of one page: a hundred rows of one text have half of that each."""

SEARCH_BUILD_ROWS: Final = 5_000
"""Rows indexed between two reports of progress when an index is built."""

# --- Documents -------------------------------------------------------------------------------

DOCUMENT_UPDATE_BYTES_MAX: Final = 524_288
"""Largest update that a client may push."""

DOCUMENT_UPDATE_BYTES_DIRECT: Final = 512
"""Updates up to this size are imported as they are: a keystroke, or thirty marks."""

DOCUMENT_INLINE_SECONDS_MAX: Final = 0.01
"""Processor time on the loop for one piece of work on a document. What may take longer is done in a
process beside the server; a document with which it did take longer is from then on."""

DOCUMENT_INLINE_STORED_BYTES_MAX: Final = 16_384
"""Size of a document's snapshot up to which it is loaded, and made anew, on the loop; a larger one
once somebody has found out how long loading takes. So many bytes hold 500 marks: 25 ms."""

DOCUMENTS_OPENED_AT_ONCE: Final = 8
"""Followers whose documents are asked for at a time once too much work waits (after a restart)."""

DOCUMENT_INLINE_CHARACTERS_MAX: Final = 300_000
"""Characters of a document that is edited on the loop: each edit reads all of them, 2 to 3 ms."""

DOCUMENT_INLINE_JSON_CHARACTERS_MAX: Final = 2_000
"""JSON of a list or tree that is set on the loop: its difference is looked for item by item."""

DOCUMENT_INLINE_DIFFERENCE_MAX: Final = 250_000
"""Product of the lengths of two stretches in which texts differ, up to which their difference is
looked for on the loop: a millisecond or two."""

DOCUMENT_INLINE_STRETCH_MAX: Final = 65_536
"""Characters that are put into a text or taken out of it on the loop."""

DOCUMENT_INLINE_MISSED_MAX: Final = 10_000
"""Operations that the author of an update had not seen, up to which it is merged on the loop: the
library goes through them, 10 000 in up to 50 ms."""

DOCUMENT_INLINE_VERSION_BYTES_MAX: Final = 8_192
"""Size of the version of a document (some 12 bytes for each who has edited it) up to which
concurrent updates are merged on the loop; the time grows with its square, 20 ms here."""

DOCUMENT_PROCESSES: Final = 2
"""Processes for documents that are not worked on on the loop; started when there is such work."""

DOCUMENT_JOBS_WAITING_MAX: Final = 64
"""Pieces of such work that may wait for one of them, 2 MB each at most."""

DOCUMENT_JOBS_PER_ADDRESS_MAX: Final = 16
"""The same from one client address, so that no address fills the queue."""

DOCUMENT_JOB_SECONDS_MAX: Final = 15.0
"""After so long a process is killed and its work lost; honest work takes less than a second, more
where others want the processors too."""

DOCUMENT_JOBS_PER_WRITE_MAX: Final = 16
"""Pieces of such work that one write (a transaction of many operations) may need: 413. After each
the write is begun anew."""

DOCUMENT_CONFLICTS_MAX: Final = 3
"""How often work is done again because the row or its document was changed meanwhile: then 503."""

DOCUMENT_CONFLICTS_FREE: Final = 2
"""After so many of them others who change the row wait until the work is done."""

DOCUMENT_COSTS_KEPT_MAX: Final = 10_000
"""Documents whose cost of loading is remembered; of others it is found out again."""

DOCUMENT_MERGE_SECONDS_MAX: Final = 2.0
"""Processor time for the import of one pushed update; it is refused when it takes more. Honest ones
take milliseconds; thousands of overlapping marks, or of moves, do not."""

DOCUMENT_LOAD_SECONDS_MAX: Final = 2.0
"""Processor time for loading and unpacking a document; an update that makes it more is refused, as
every client that opens the document has to take that time, too."""

DOCUMENT_MERGE_SECONDS_FREE: Final = 0.005
"""A merge up to this time, as every keystroke is, is not counted against anybody."""

DOCUMENT_SESSION_SHARE: Final = 0.2
"""The part of one processor's time that one session's documents may take."""

DOCUMENT_ADDRESS_SHARE: Final = 0.5
"""The same for all sessions of one client address: an office, or one caller with many guests."""

DOCUMENT_ROW_SHARE: Final = 0.5
"""The same for one row, whoever edits it."""

DOCUMENT_BURST_SECONDS: Final = 1.0
"""Time that may be taken at once after a quiet while, beyond those parts."""

DOCUMENT_KEYS_KEPT_MAX: Final = 10_000
"""Sessions, addresses and rows whose time is remembered; it is a matter of seconds."""

DOCUMENT_RECENT_BYTES_MAX: Final = 16_777_216
"""Whole documents kept for the next reader that asks for the same."""

DOCUMENT_TAIL_SECONDS_MAX: Final = 0.01
"""Time that the imports of the updates stored beside a snapshot have taken; then both become a new
snapshot, so that a document is always loaded quickly."""

DOCUMENT_UPDATE_BYTES_COMPRESSED: Final = 65_536
"""Largest pushed snapshot; snapshots unpack to some 130 times their size."""

DOCUMENT_UPDATE_BYTES_SHALLOW: Final = 4_096
"""Updates up to this size cannot nest deep enough to overflow an ordinary stack."""

DOCUMENT_NESTING_MAX: Final = 64
"""Deepest nesting of values, containers and tree nodes in a document."""

DOCUMENT_ITEMS_MAX: Final = 10_000
"""Items of one list, or nodes of one tree."""

DOCUMENT_JSON_CHARACTERS_MAX: Final = 524_288
"""JSON of one list or tree; bringing so much of it into its canonical form takes some 35 ms."""

DOCUMENT_DIFF_ITEMS_MAX: Final = 500
"""Changed stretch of a list up to which the smallest difference is looked for."""

DOCUMENT_DIFF_MILLISECONDS: Final = 10.0
"""Time in which the smallest difference of two texts is looked for, twice, before all of it is
replaced."""

DOCUMENT_BYTES_MAX: Final = 2_097_152
"""Largest stored snapshot of a document; half of what may wait for one reader."""

DOCUMENT_HISTORY_BYTES_MAX: Final = 1_048_576
"""Size of a snapshot from which history older than the last one is cut off."""

DOCUMENT_SILENT_AUTHORS_MAX: Final = 64
"""Latest authors of a document who may go on when its history is cut, without having seen that. The
document tells which texts each of them may edit: some 30 bytes an author."""

DOCUMENT_UPDATES_MAX: Final = 256
"""Updates stored beside a snapshot before both become a new snapshot."""

DOCUMENT_TAIL_BYTES_MAX: Final = 65_536
"""The same in bytes, or the size of the snapshot where that is larger."""

DOCUMENTS_OPEN_MAX: Final = 1_000
"""Documents kept in memory, by latest use."""

DOCUMENTS_OPEN_BYTES_MAX: Final = 67_108_864
"""The same by the bytes that they take in storage."""

DOCUMENT_PASSED_MAX: Final = 256
"""Changes of a row kept for a reader whose snapshot is on its way; beyond that it gets another."""

DOCUMENT_PENDING_SECONDS: Final = 5.0
"""How long a pushed update waits for those that it builds on: another connection may bring them."""

DOCUMENT_PENDING_MAX: Final = 64
"""Pushed updates that may wait so on one row."""

DOCUMENTS_PENDING_MAX: Final = 1_000
"""Pushed updates that may wait so in all."""

ROW_ID_CHARACTERS_MAX: Final = 256
"""Longest row id that is imported or that a connection may wait for; the server's have 40."""

SUBSCRIPTIONS_PER_SOCKET_MAX: Final = 1_000
"""Rows whose documents one connection may follow, those that it cannot see yet included."""

SOCKET_TEXT_BYTES_MAX: Final = 65_536
"""Largest JSON message of a client that is looked at."""

SOCKET_MESSAGES_PER_SECOND: Final = 50.0
"""Client messages handled per second and connection; a faster sender is read more slowly."""

SOCKET_MESSAGE_CHARACTERS: Final = 2_048
"""A message counts once more for each so many characters: one of 64 KB takes as long to decode as
thirty short ones to handle."""

SOCKET_MESSAGES_BURST: Final = 1_000
"""Client messages handled at once after a quiet time: all subscriptions are sent on connect."""
