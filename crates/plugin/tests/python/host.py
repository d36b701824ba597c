"""A host that starts and drives a sessionvm binary as avalanchego does.

Its messages, its gRPC and its signatures come from other code than the plugin's. Every step is
printed; the first that does not hold ends the run with exit code 1.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from concurrent import futures

import grpc
from google.protobuf.empty_pb2 import Empty

import appsender_pb2
import appsender_pb2_grpc
import ghttp_pb2
import ghttp_pb2_grpc
import rpcdb_pb2
import rpcdb_pb2_grpc
import runtime_pb2
import runtime_pb2_grpc
import vm_pb2
import vm_pb2_grpc
import writer_pb2
import writer_pb2_grpc
from transactions import Account

PROTOCOL = 45
CHAIN = bytes([1]) * 32
PATIENCE = 20
GRACE = 5
STATE_BOOTSTRAPPING, STATE_NORMAL_OP = 2, 3
NOT_FOUND, STATE_SYNC_NOT_IMPLEMENTED = 2, 3
BUILD_BLOCK = 1
ITERATOR_BATCH_BYTES = 128 * 1024
UNLIMITED = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]
# As often as a plugin must bear, with and without calls.
PINGS = [
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 10000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]


class Failed(Exception):
    """A step did not hold."""


def check(holds, what):
    if not holds:
        raise Failed(what)


def step(text):
    print(f"ok  {text}", flush=True)


def serve(add, servicer):
    """Serves one service on a port of the loopback interface; returns server and address."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=UNLIMITED)
    add(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"


class Runtime(runtime_pb2_grpc.RuntimeServicer):
    """Takes introductions; refuses other protocol numbers."""

    def __init__(self):
        self.introductions = queue.Queue()

    def Initialize(self, request, context):
        if request.protocol_version != PROTOCOL:
            text = f"expected protocol version {PROTOCOL}, got {request.protocol_version}"
            context.abort(grpc.StatusCode.UNKNOWN, text)
        self.introductions.put(request.addr)
        return Empty()


class Database(rpcdb_pb2_grpc.DatabaseServicer):
    """The host's database: it outlives plugins."""

    def __init__(self):
        self.lock = threading.Lock()
        self.entries = {}
        self.iterators = {}
        self.iterators_ever = 0
        self.batches = 0

    def Get(self, request, context):
        with self.lock:
            value = self.entries.get(request.key)
        if value is None:
            return rpcdb_pb2.GetResponse(err=NOT_FOUND)
        return rpcdb_pb2.GetResponse(value=value)

    def Has(self, request, context):
        with self.lock:
            return rpcdb_pb2.HasResponse(has=request.key in self.entries)

    def WriteBatch(self, request, context):
        with self.lock:
            for put in request.puts:
                self.entries[put.key] = put.value
            for delete in request.deletes:
                self.entries.pop(delete.key, None)
            self.batches += 1
        return rpcdb_pb2.Outcome()

    def NewIteratorWithStartAndPrefix(self, request, context):
        with self.lock:
            keys = sorted(
                key
                for key in self.entries
                if key.startswith(request.prefix) and key >= request.start
            )
            entries = [rpcdb_pb2.PutRequest(key=key, value=self.entries[key]) for key in keys]
            self.iterators_ever += 1
            self.iterators[self.iterators_ever] = entries
            return rpcdb_pb2.Iterator(id=self.iterators_ever)

    def IteratorNext(self, request, context):
        with self.lock:
            entries = self.iterators.get(request.id)
            if entries is None:
                context.abort(grpc.StatusCode.UNKNOWN, "unknown iterator")
            batch, size = [], 0
            while entries and size < ITERATOR_BATCH_BYTES:
                batch.append(entries.pop(0))
                size += len(batch[-1].key) + len(batch[-1].value)
            return rpcdb_pb2.IteratorNextResponse(data=batch)

    def IteratorError(self, request, context):
        return rpcdb_pb2.Outcome()

    def IteratorRelease(self, request, context):
        with self.lock:
            self.iterators.pop(request.id, None)
        return rpcdb_pb2.Outcome()


class AppSender(appsender_pb2_grpc.AppSenderServicer):
    """Keeps what the plugin gossips."""

    def __init__(self):
        self.gossip = queue.Queue()

    def SendAppGossip(self, request, context):
        self.gossip.put(request)
        return Empty()


class Writer(writer_pb2_grpc.WriterServicer):
    """Keeps what the plugin answers to an upgrade."""

    def __init__(self):
        self.status = None
        self.body = b""

    def WriteHeader(self, request, context):
        self.status = request.status_code
        return Empty()

    def Write(self, request, context):
        self.body += request.payload
        return writer_pb2.WriteResponse(written=len(request.payload))


class Host:
    """All services of the host."""

    def __init__(self, binary):
        self.binary = binary
        self.runtime, self.database, self.sender = Runtime(), Database(), AppSender()
        add = runtime_pb2_grpc.add_RuntimeServicer_to_server
        self.runtime_server, self.engine = serve(add, self.runtime)
        add = rpcdb_pb2_grpc.add_DatabaseServicer_to_server
        self.database_server, self.database_address = serve(add, self.database)
        add = appsender_pb2_grpc.add_AppSenderServicer_to_server
        self.sender_server, self.sender_address = serve(add, self.sender)

    def spawn(self, engine, *arguments):
        environment = {"AVALANCHE_VM_RUNTIME_ENGINE_ADDR": engine}
        return subprocess.Popen(
            [self.binary, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start(self, *arguments):
        return Plugin(self, self.spawn(self.engine, *arguments))


class Plugin:
    """A running plugin, introduced and connected."""

    def __init__(self, host, process):
        self.process = process
        try:
            address = host.runtime.introductions.get(timeout=PATIENCE)
        except queue.Empty:
            process.kill()
            raise Failed(f"no handshake: {process.communicate()[1]}") from None
        self.channel = grpc.insecure_channel(address, options=UNLIMITED + PINGS)
        self.vm = vm_pb2_grpc.VMStub(self.channel)
        # Somebody must read what the plugin says, or it waits for room.
        self.said = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.said.append(line)

    def end(self, with_signal):
        """Says `Shutdown`, then SIGTERM or nothing but a closed connection."""
        self.vm.Shutdown(Empty(), timeout=PATIENCE)
        if with_signal:
            self.process.send_signal(signal.SIGTERM)
        self.channel.close()
        try:
            code = self.process.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            raise Failed("the plugin did not end in time") from None
        check(code == 0, f"exit code {code}: {''.join(self.said)}")


def genesis(account):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    balance = "1000000"
    return json.dumps({
        "version": 1,
        "network": "python",
        "time": now,
        "accounts": [{"account": "07" + account.id.hex(), "balance": balance}],
        "supply": balance,
    }).encode()


def initialize_request(host, genesis_bytes):
    request = vm_pb2.InitializeRequest(
        network_id=1337,
        subnet_id=bytes([9]) * 32,
        chain_id=CHAIN,
        node_id=bytes([2]) * 20,
        public_key=bytes([3]) * 48,
        genesis_bytes=genesis_bytes,
        db_server_addr=host.database_address,
        server_addr=host.sender_address,
    )
    request.network_upgrades.first.seconds = 1_600_000_000
    return request


def wait_for_event(vm):
    event = vm.WaitForEvent(Empty(), timeout=PATIENCE)
    check(event.message == BUILD_BLOCK, f"event {event.message}")


def call_http(address, method, path, body=b""):
    with grpc.insecure_channel(address, options=UNLIMITED) as channel:
        kind = ghttp_pb2.Element(key="Content-Type", values=["application/json"])
        request = ghttp_pb2.HandleSimpleHTTPRequest(
            method=method, url=f"/ext/bc/x{path}", request_headers=[kind], body=body
        )
        return ghttp_pb2_grpc.HTTPStub(channel).HandleSimple(request, timeout=PATIENCE)


def rpc(address, method, parameters):
    call = {"jsonrpc": "2.0", "id": 1, "method": f"sessionvm.{method}", "params": parameters}
    answer = call_http(address, "POST", "/rpc", json.dumps(call).encode())
    check(answer.code == 200, f"status {answer.code}")
    content_types = [h.values for h in answer.headers if h.key == "Content-Type"]
    check(content_types == [["application/json"]], f"headers {answer.headers}")
    reply = json.loads(answer.body)
    check("result" in reply, f"{method}: {reply}")
    return reply["result"]


def before_initialize(host):
    plugin = host.start()
    version = plugin.vm.Version(Empty(), timeout=PATIENCE).version
    check(version, "no version")
    plugin.end(with_signal=True)
    step(f"Version ({version}) and Shutdown before Initialize, then SIGTERM")


def opened(host, plugin, genesis_bytes):
    vm = plugin.vm
    first = vm.Initialize(initialize_request(host, genesis_bytes), timeout=PATIENCE)
    check(len(first.last_accepted_id) == 32, "an id has 32 bytes")
    check(len(first.last_accepted_parent_id) == 32, "a parent has 32 bytes")
    check(first.HasField("timestamp"), "a timestamp is set")
    step(f"Initialize: height {first.height}")
    now = vm.SetState(vm_pb2.SetStateRequest(state=STATE_BOOTSTRAPPING), timeout=PATIENCE)
    check(now.last_accepted_id == first.last_accepted_id, "the same block")
    check(now.HasField("timestamp"), "a timestamp is set")
    last = vm.GetBlock(vm_pb2.GetBlockRequest(id=first.last_accepted_id), timeout=PATIENCE)
    check(last.err == 0 and last.bytes == first.bytes, "the last block is there")
    vm.SetPreference(vm_pb2.SetPreferenceRequest(id=first.last_accepted_id), timeout=PATIENCE)
    vm.SetState(vm_pb2.SetStateRequest(state=STATE_NORMAL_OP), timeout=PATIENCE)
    step("SetState 2, GetBlock, SetPreference, SetState 3")
    return first


def handlers(vm):
    found = vm.CreateHandlers(Empty(), timeout=PATIENCE).handlers
    prefixes = [handler.prefix for handler in found]
    check(prefixes == ["/rpc", "/health", "/metrics", ""], f"prefixes {prefixes}")
    check(vm.NewHTTPHandler(Empty(), timeout=PATIENCE).server_addr == "", "no own handler")
    step("CreateHandlers, NewHTTPHandler")
    return found[0].server_addr


def over_http(address):
    for path in ("/health", "/metrics", ""):
        check(call_http(address, "GET", path).code == 200, path)
    refused = call_http(address, "DELETE", "/rpc")
    check(400 <= refused.code < 500, f"DELETE: {refused.code}")
    rpc(address, "GetHeight", {})
    writer = Writer()
    server, writer_address = serve(writer_pb2_grpc.add_WriterServicer_to_server, writer)
    with grpc.insecure_channel(address) as channel:
        request = ghttp_pb2.HTTPRequest(request=ghttp_pb2.Request(method="GET"))
        request.response_writer.server_addr = writer_address
        ghttp_pb2_grpc.HTTPStub(channel).Handle(request, timeout=PATIENCE)
    check(writer.status == 501 and writer.body, f"an upgrade: {writer.status}")
    server.stop(None)
    step("HandleSimple: /rpc, /health, /metrics, the page, a refusal; Handle: 501")


def events(vm):
    for _ in range(3):
        waiting = vm.WaitForEvent.future(Empty())
        time.sleep(0.05)
        check(not waiting.done(), "there is no event")
        waiting.cancel()
    step("WaitForEvent blocks and can be cancelled")


def blocks(host, vm, address, account, parent):
    transaction = account.transfer(CHAIN, 0)
    rpc(address, "IssueTx", {"tx": transaction.hex()})
    step("a transaction signed by another ML-DSA library is taken")
    gossip = host.sender.gossip.get(timeout=PATIENCE)
    check(gossip.validators > 0 and gossip.msg.endswith(transaction), "gossip")
    step("SendAppGossip")
    wait_for_event(vm)
    wait_for_event(vm)
    step("WaitForEvent: at once, again and again")
    built = vm.BuildBlock(vm_pb2.BuildBlockRequest(p_chain_height=7), timeout=PATIENCE)
    check(built.parent_id == parent and built.height == 1, "on the preferred block")
    check(built.HasField("timestamp") and not built.verify_with_context, "as it must be")
    parse = vm_pb2.ParseBlockRequest(bytes=built.bytes)
    parsed = vm.ParseBlock(parse, timeout=PATIENCE)
    check(parsed.id == built.id and parsed.timestamp == built.timestamp, "the same block")
    both = vm_pb2.BatchedParseBlockRequest(request=[built.bytes, built.bytes])
    both = vm.BatchedParseBlock(both, timeout=PATIENCE).response
    check(list(both) == [parsed, parsed], "the same blocks")
    step("BuildBlock, ParseBlock, BatchedParseBlock")
    verify = vm_pb2.BlockVerifyRequest(bytes=built.bytes, p_chain_height=7)
    verified = vm.BlockVerify(verify, timeout=PATIENCE)
    check(verified.timestamp == built.timestamp, "the same time")
    vm.BlockReject(vm_pb2.BlockRejectRequest(id=built.id), timeout=PATIENCE)
    wait_for_event(vm)
    built = vm.BuildBlock(vm_pb2.BuildBlockRequest(), timeout=PATIENCE)
    vm.BlockVerify(vm_pb2.BlockVerifyRequest(bytes=built.bytes), timeout=PATIENCE)
    vm.SetPreference(vm_pb2.SetPreferenceRequest(id=built.id), timeout=PATIENCE)
    batches = host.database.batches
    vm.BlockAccept(vm_pb2.BlockAcceptRequest(id=built.id), timeout=PATIENCE)
    check(host.database.batches == batches + 1, "one batch for each accept")
    step("BlockVerify, BlockReject, again, BlockAccept in one batch")
    found = vm.GetBlockIDAtHeight(vm_pb2.GetBlockIDAtHeightRequest(height=1), timeout=PATIENCE)
    check(found.err == 0 and found.blk_id == built.id, "the height index")
    above = vm.GetBlockIDAtHeight(vm_pb2.GetBlockIDAtHeightRequest(height=9), timeout=PATIENCE)
    check(above.err == NOT_FOUND, "nothing above")
    unknown = vm.GetBlock(vm_pb2.GetBlockRequest(id=bytes([0xEE]) * 32), timeout=PATIENCE)
    check(unknown.err == NOT_FOUND, "an unknown block")
    step("GetBlockIDAtHeight, GetBlock: not found is an answer")
    return built


def ancestors(vm, built):
    def ask(block, count):
        request = vm_pb2.GetAncestorsRequest(
            blk_id=block,
            max_blocks_num=count,
            max_blocks_size=1 << 20,
            max_blocks_retrival_time=2_000_000_000,
        )
        return list(vm.GetAncestors(request, timeout=PATIENCE).blks_bytes)

    check(len(ask(built.id, 10)) == 2, "the block and genesis")
    check(ask(built.id, 1) == [built.bytes], "the block alone")
    check(ask(bytes([0xEE]) * 32, 10) == [], "an unknown block has none")
    step("GetAncestors")


def others(vm):
    node = bytes([5]) * 20
    vm.Connected(vm_pb2.ConnectedRequest(node_id=node, name="a", major=1), timeout=PATIENCE)
    for message in (b"", b"\0", bytes(1000), b"\xff" * 70_000):
        vm.AppGossip(vm_pb2.AppGossipMsg(node_id=node, msg=message), timeout=PATIENCE)
    vm.AppRequest(vm_pb2.AppRequestMsg(node_id=node, request=b"?"), timeout=PATIENCE)
    failed = vm_pb2.AppRequestFailedMsg(node_id=node, error_code=-1)
    vm.AppRequestFailed(failed, timeout=PATIENCE)
    vm.AppResponse(vm_pb2.AppResponseMsg(node_id=node), timeout=PATIENCE)
    vm.Disconnected(vm_pb2.DisconnectedRequest(node_id=node), timeout=PATIENCE)
    step("App*, Connected, Disconnected: OK, whatever they hold")
    check(not vm.StateSyncEnabled(Empty(), timeout=PATIENCE).enabled, "no state sync")
    answers = [
        vm.GetOngoingSyncStateSummary(Empty(), timeout=PATIENCE),
        vm.GetLastStateSummary(Empty(), timeout=PATIENCE),
        vm.ParseStateSummary(vm_pb2.ParseStateSummaryRequest(bytes=b"x"), timeout=PATIENCE),
        vm.GetStateSummary(vm_pb2.GetStateSummaryRequest(height=1), timeout=PATIENCE),
        vm.StateSummaryAccept(vm_pb2.StateSummaryAcceptRequest(bytes=b"x"), timeout=PATIENCE),
    ]
    check(all(a.err == STATE_SYNC_NOT_IMPLEMENTED for a in answers), f"{answers}")
    vm.Gather(Empty(), timeout=PATIENCE)
    details = json.loads(vm.Health(Empty(), timeout=PATIENCE).details)
    check(details["healthy"] is True, f"{details}")
    step("state sync declined, Gather, Health")


def gossip_in(vm, frame, account, parent):
    message = vm_pb2.AppGossipMsg(node_id=bytes([5]) * 20, msg=frame(account.transfer(CHAIN, 1)))
    vm.AppGossip(message, timeout=PATIENCE)
    wait_for_event(vm)
    built = vm.BuildBlock(vm_pb2.BuildBlockRequest(), timeout=PATIENCE)
    check(built.height == 2 and built.parent_id == parent, "a second block")
    step("AppGossip brings a transaction")


def life(host):
    account = Account()
    genesis_bytes = genesis(account)
    plugin = host.start()
    first = opened(host, plugin, genesis_bytes)
    check(first.height == 0, "genesis")
    plugin.process.send_signal(signal.SIGTERM)
    plugin.process.send_signal(signal.SIGINT)
    address = handlers(plugin.vm)
    over_http(address)
    events(plugin.vm)
    built = blocks(host, plugin.vm, address, account, first.last_accepted_id)
    ancestors(plugin.vm, built)
    others(plugin.vm)
    gossip_in(plugin.vm, lambda transaction: transaction, account, built.id)
    time.sleep(6)
    plugin.vm.Version(Empty(), timeout=PATIENCE)
    step("pings without calls are answered; SIGTERM and SIGINT before Shutdown were ignored")
    plugin.end(with_signal=True)
    step("Shutdown, SIGTERM: exit code 0 in time")

    plugin = host.start()
    again = opened(host, plugin, genesis_bytes)
    check(again.last_accepted_id == built.id and again.height == 1, "where it was")
    plugin.process.kill()
    plugin.process.wait()
    plugin = host.start()
    again = opened(host, plugin, genesis_bytes)
    check(again.last_accepted_id == built.id, "where it was")
    check(not host.database.iterators, "all iterators were released")
    plugin.end(with_signal=False)
    step("restarted at its last block, also after SIGKILL; Shutdown and hanging up end it")


def refusals(host):
    process = host.spawn(host.engine, "--rpcchainvm", "46")
    _, said = process.communicate(timeout=PATIENCE)
    check(process.returncode != 0 and "46" in said and "GRPC_SESSIONVM_PROTOCOL" in said, said)
    begin = time.monotonic()
    process = host.spawn("127.0.0.1:1")
    _, said = process.communicate(timeout=PATIENCE)
    check(process.returncode != 0 and "127.0.0.1:1" in said, said)
    check(time.monotonic() - begin < GRACE, "in time")
    step("a wrong protocol number and a wrong address end with a clear line")


def main(binary):
    if not os.access(binary, os.X_OK):
        print(f"{binary} is no program", file=sys.stderr)
        return 2
    host = Host(binary)
    try:
        before_initialize(host)
        life(host)
        refusals(host)
    except (Failed, grpc.RpcError, OSError, KeyError, ValueError, queue.Empty) as error:
        print(f"FAILED: {error!r}", file=sys.stderr, flush=True)
        return 1
    print("all steps hold")
    return 0
