"""Runs inside a box: becomes a Python function when core says so, then one event after the other.

The loop is: blocking read on descriptor 3, call the handler, write to descriptor 4. Several frames may wait in the
buffer; they are worked on one by one. Layout: ../README.md and src/runtime/frame.h. Python 3.9 and
later.
"""
import gc
import importlib
import json
import logging
import os
import struct
import sys
import time
import traceback

# The isolated mode of the interpreter (-I) leaves our own directory out of the search path.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import _mayfly_endpoint  # a name that no function has

del sys.path[0]

INIT, INVOKE = 1, 2
WARM, READY, INIT_ERROR, RESULT, ERROR = 16, 17, 18, 19, 20
EVENTS, ANSWERS = 3, 4
HEADER = 160
PAYLOAD_MAX = 6 * 1024 * 1024 + 100
TRACE_ID = b"_X_AMZN_TRACE_ID"
FRAME_MAX = HEADER + 65535 + PAYLOAD_MAX
ROOM = 128 * 1024
STEP = 4096  # so much is read at once: what is still in the socket can be taken back by core
# length, kind, flags, extra, sequence, time-out, request id, trace id (in errors: the type)
LAYOUT = struct.Struct("<IBBHII36s108s")


class Channel:
    """The framed sockets to core: one system call may bring many frames."""

    def __init__(self):
        self.start = self.end = 0
        self.resize(ROOM)

    def resize(self, size):
        memory = memoryview(bytearray(size))
        held = self.end - self.start
        if held:
            memory[:held] = self.view[self.start : self.end]
        self.view = memory
        self.start, self.end = 0, held

    def fill(self, size):
        room = len(self.view)
        if self.start == self.end and room == ROOM and size <= ROOM:
            self.start = self.end = 0
        elif size > room - self.start or room > ROOM:
            self.resize(max(size, ROOM))
        while self.end - self.start < size:
            try:
                got = os.readv(EVENTS, [self.view[self.end : max(self.start + size, self.end + STEP)]])
            except ConnectionResetError:
                got = 0
            except BlockingIOError:
                time.sleep(0.001)
                continue
            if not got:
                # Core has gone: there is nobody left to work for.
                os._exit(0)
            self.end += got

    def next(self):
        """Block for a frame: kind, sequence, time-out in ms, request id, trace id, extra, payload."""
        if self.end - self.start < HEADER:
            self.fill(HEADER)
        size, kind, _, extra, sequence, timeout, request_id, trace_id = LAYOUT.unpack_from(self.view, self.start)
        if size < HEADER + extra or size > FRAME_MAX:
            raise RuntimeError(f"broken channel: a frame of {size} bytes")
        if self.end - self.start < size:
            self.fill(size)
        body = self.start + HEADER + extra
        extra = str(self.view[self.start + HEADER : body], "utf-8") if extra else ""
        payload = self.view[body : self.start + size]
        self.start += size
        return kind, sequence, timeout, request_id, trace_id, extra, payload

    def send(self, kind, sequence=0, request_id=b"", payload=b"", error_type=""):
        kind_of_error = error_type.encode("ascii", "replace")[:108]
        header = LAYOUT.pack(HEADER + len(payload), kind, 0, 0, sequence, 0, request_id, kind_of_error)
        data = header + payload
        while data:
            try:
                sent = os.write(ANSWERS, data)
            except BlockingIOError:
                time.sleep(0.001)
                continue
            if sent == len(data):
                break
            data = memoryview(data)[sent:]


class Fault(Exception):
    """A failure in the platform's own words."""

    def __init__(self, kind, message, trace=()):
        super().__init__(message)
        self.kind = kind
        self.trace = list(trace)


class CognitoIdentity:
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self, fields):
        self.cognito_identity_id = fields.get("cognitoIdentityId")
        self.cognito_identity_pool_id = fields.get("cognitoIdentityPoolId")

    def __repr__(self):
        return describe_fields("CognitoIdentity", self, self.__slots__)


class Client:
    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")

    def __init__(self, fields):
        for name in self.__slots__:
            setattr(self, name, fields.get(name))

    def __repr__(self):
        return describe_fields("Client", self, self.__slots__)


class ClientContext:
    __slots__ = ("custom", "env", "client")

    def __init__(self, fields):
        self.custom = fields.get("custom")
        self.env = fields.get("env")
        client = fields.get("client")
        self.client = Client(client) if isinstance(client, dict) else None

    def __repr__(self):
        return describe_fields("ClientContext", self, self.__slots__)


def describe_fields(name, value, fields):
    return f"{name}([{','.join(f'{field}={getattr(value, field)}' for field in fields)}])"


class LambdaContext:
    # Filled once, when the process becomes a function.
    function_name = function_version = memory_limit_in_mb = log_group_name = log_stream_name = None

    def __init__(self, request_id, arn, timeout_ms):
        self.aws_request_id = request_id
        self.invoked_function_arn = arn
        self.client_context = None
        self.tenant_id = None
        self._deadline_ms = time.time() * 1000 + timeout_ms

    # Most functions never look.
    def __getattr__(self, name):
        if name != "identity":
            raise AttributeError(f"'LambdaContext' object has no attribute '{name}'")
        self.identity = CognitoIdentity({})
        return self.identity

    def get_remaining_time_in_millis(self):
        return max(int(self._deadline_ms - time.time() * 1000), 0)

    def log(self, message):
        sys.stdout.write(str(message))
        sys.stdout.flush()

    def __repr__(self):
        fields = (
            "aws_request_id", "log_group_name", "log_stream_name", "function_name", "memory_limit_in_mb",
            "function_version", "invoked_function_arn", "client_context", "identity", "tenant_id",
        )
        return describe_fields("LambdaContext", self, fields)


# --- logging -------------------------------------------------------------------------------------

current_request = ""
log_as_json = False


def timestamp(seconds):
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"


def write_line(text):
    """One write a message, so that it stays one event: line breaks inside become returns."""
    sys.stdout.flush()
    data = memoryview((text.replace("\n", "\r") + "\n").encode("utf-8", "backslashreplace"))
    while data:
        try:
            data = data[os.write(1, data) :]
        except BlockingIOError:
            time.sleep(0.001)


class TextFormatter(logging.Formatter):
    def formatTime(self, record, datefmt=None):
        return timestamp(record.created)

    def __init__(self):
        super().__init__("[%(levelname)s]\t%(asctime)s\t%(aws_request_id)s\t%(message)s")


STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"aws_request_id", "message", "asctime"}
LEVEL_NAMES = {"WARNING": "WARN", "CRITICAL": "FATAL"}


class JsonFormatter(logging.Formatter):
    def format(self, record):
        entry = {
            "timestamp": timestamp(record.created),
            "level": LEVEL_NAMES.get(record.levelname, record.levelname),
            "message": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info and record.exc_info[0]:
            kind, value, trace = record.exc_info
            entry["stackTrace"] = traceback.format_tb(trace)
            entry["errorType"] = kind.__name__
            entry["errorMessage"] = str(value)
            entry["location"] = f"{record.pathname}:{record.funcName}:{record.lineno}"
        if record.aws_request_id:
            entry["requestId"] = record.aws_request_id
        for name, value in vars(record).items():
            if name not in STANDARD_FIELDS and name not in entry:
                entry[name] = value
        return json.dumps(entry, ensure_ascii=False, default=str)


class LambdaLoggerHandler(logging.Handler):
    def emit(self, record):
        try:
            record.aws_request_id = current_request
            write_line(self.format(record))
        except Exception:
            self.handleError(record)


def install_logging():
    global log_as_json
    log_as_json = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
    handler = LambdaLoggerHandler()
    handler.setFormatter(JsonFormatter() if log_as_json else TextFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    if log_as_json:
        level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper() or "INFO"
        level = {"TRACE": "DEBUG", "WARN": "WARNING", "FATAL": "CRITICAL"}.get(level, level)
        if level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
            root.setLevel(level)


def print_error(error):
    """Say in the function's log what failed."""
    if log_as_json:
        entry = {"timestamp": timestamp(time.time()), "log_level": "ERROR", **error}
        write_line(json.dumps(entry, ensure_ascii=False))
        return
    lines = [f"[ERROR] {error['errorType']}: {error['errorMessage']}", "Traceback (most recent call last):"]
    lines += [line.rstrip("\n") for line in error["stackTrace"]]
    write_line("\n".join(lines))


# --- errors --------------------------------------------------------------------------------------


def message_of(exception):
    try:
        return str(exception)
    except Exception:
        return "<exception without a message>"


def describe(exception, request_id):
    """An exception as Lambda answers it; our own frames are left out of the trace."""
    if isinstance(exception, Fault):
        kind, trace = exception.kind, exception.trace
    else:
        kind = type(exception).__name__
        # As tuples they are formatted without the markers of newer interpreters, as AWS does it.
        frames = [(f.filename, f.lineno, f.name, f.line) for f in traceback.extract_tb(exception.__traceback__)]
        while frames and (frames[0][0] == __file__ or "importlib" in frames[0][0]):
            frames.pop(0)
        trace = traceback.format_list(frames)
    return {"errorMessage": message_of(exception), "errorType": kind, "requestId": request_id, "stackTrace": trace}


# --- the handler ---------------------------------------------------------------------------------


def load_handler(handler):
    try:
        module_name, function_name = handler.rsplit(".", 1)
    except ValueError as error:
        raise Fault("Runtime.MalformedHandlerName", f"Bad handler '{handler}': {error}") from None
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise Fault(
            "Runtime.ImportModuleError", f"Cannot use built-in module {module_name} as a handler module"
        )
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}") from None
    except SyntaxError as error:
        where = f'  File "{error.filename}" Line {error.lineno}\n    {(error.text or "").strip()}\n'
        raise Fault(
            "Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}", [where]
        ) from None
    except (TypeError, ValueError) as error:
        # Names such as ".handler" or "a..b.handler" fail inside importlib itself.
        if not module_name.strip("./") or ".." in module_name or module_name.startswith("."):
            raise Fault("Runtime.MalformedHandlerName", f"Bad handler '{handler}': {error}") from None
        raise
    try:
        return getattr(module, function_name)
    except AttributeError:
        raise Fault(
            "Runtime.HandlerNotFound", f"Handler '{function_name}' missing on module '{module_name}'"
        ) from None


def encode_other(value):
    # Whoever has a Decimal has imported the module; starting is quicker without it.
    decimal = sys.modules.get("decimal")
    if decimal and isinstance(value, decimal.Decimal):
        return float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


encode = json.JSONEncoder(ensure_ascii=False, default=encode_other).encode
encode_ascii = json.JSONEncoder(default=encode_other).encode


scan = json.JSONDecoder().scan_once


def parse(text):
    """json.loads(), in half the time for a text without white space around it."""
    try:
        value, end = scan(text, 0)
    except StopIteration:
        return json.loads(text)
    return value if end == len(text) else json.loads(text)


def serialise(value):
    try:
        text = encode(value)
        try:
            return text.encode()
        except UnicodeEncodeError:
            return encode_ascii(value).encode()
    except Exception as error:
        raise Fault("Runtime.MarshalError", f"Unable to marshal response: {message_of(error)}") from None


class Function:
    """The function that this process has become."""

    def __init__(self, channel, handler):
        self.channel = channel
        self.handler = handler
        self.arn = ""
        self.trace = b""

    def read_extra(self, context, text):
        extra = json.loads(text)
        if extra.get("arn"):
            context.invoked_function_arn = self.arn = extra["arn"]
        if extra.get("clientContext"):
            fields = json.loads(extra["clientContext"])
            context.client_context = ClientContext(fields) if isinstance(fields, dict) else None
        if extra.get("identity"):
            context.identity = CognitoIdentity(json.loads(extra["identity"]))
        context.tenant_id = extra.get("tenantId")

    def set_trace(self, trace):
        self.trace = trace
        trace_id = trace.rstrip(b"\0").decode("ascii", "replace")
        # Past putenv(3): the C library keeps every value that a variable ever had, one for each event
        # would fill the memory of the box in time. Programs that inherit the environment do not see it.
        if trace_id:
            os.environ._data[TRACE_ID] = os.fsencode(trace_id)
        else:
            os.environ._data.pop(TRACE_ID, None)

    def run(self, request_id, timeout, extra, payload):
        context = LambdaContext(request_id, self.arn, timeout)
        if extra:
            self.read_extra(context, extra)
        try:
            event = parse(str(payload, "utf-8"))
        except ValueError as error:
            raise Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from None
        body = serialise(self.handler(event, context))
        if len(body) > PAYLOAD_MAX:
            raise Fault(
                "Function.ResponseSizeTooLarge",
                f"Response payload size exceeded maximum allowed payload size ({PAYLOAD_MAX} bytes).",
            )
        return body

    def serve(self):
        global current_request
        channel, stdout, stderr = self.channel, sys.stdout, sys.stderr
        while True:
            kind, sequence, timeout, raw_id, trace, extra, payload = channel.next()
            if kind != INVOKE:
                raise RuntimeError(f"broken channel: kind {kind} after init")
            current_request = request_id = raw_id.decode("ascii")
            if trace != self.trace:
                self.set_trace(trace)
            try:
                body = self.run(request_id, timeout, extra, payload)
            except Exception as exception:
                error = describe(exception, request_id)
                print_error(error)
                channel.send(ERROR, sequence, raw_id, serialise(error), error["errorType"])
            else:
                stdout.flush()
                channel.send(RESULT, sequence, raw_id, body)
            stderr.flush()


def become_function(init):
    environment, root = init["env"], init["cwd"]
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(root)
    importlib.invalidate_caches()
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    here = os.path.dirname(os.path.abspath(__file__))
    standard = [path for path in sys.path if path and os.path.abspath(path) != here]
    first = [root, f"/opt/python/lib/{version}/site-packages", "/opt/python"]
    first += [path for path in environment.get("PYTHONPATH", "").split(":") if path]
    sys.path[:] = first + [path for path in standard if path not in first]
    LambdaContext.function_name = environment.get("AWS_LAMBDA_FUNCTION_NAME")
    LambdaContext.function_version = environment.get("AWS_LAMBDA_FUNCTION_VERSION")
    LambdaContext.memory_limit_in_mb = environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
    LambdaContext.log_group_name = environment.get("AWS_LAMBDA_LOG_GROUP_NAME")
    LambdaContext.log_stream_name = environment.get("AWS_LAMBDA_LOG_STREAM_NAME")
    install_logging()
    _mayfly_endpoint.install()


def fail_init(channel, exception):
    error = describe(exception, "")
    print_error(error)
    channel.send(INIT_ERROR, payload=serialise(error), error_type=error["errorType"])
    os._exit(1)


def main():
    os.set_inheritable(EVENTS, False)
    os.set_inheritable(ANSWERS, False)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    channel = Channel()
    channel.send(WARM)
    kind, _, _, _, _, _, payload = channel.next()
    if kind != INIT:
        raise RuntimeError(f"broken channel: kind {kind} before init")
    init = json.loads(str(payload, "utf-8"))
    become_function(init)
    try:
        handler = load_handler(init["handler"])
    except Exception as exception:
        fail_init(channel, exception)
    # What was loaded stays: the collector need not walk it again and again.
    gc.freeze()
    channel.send(READY)
    Function(channel, handler).serve()


if __name__ == "__main__":
    try:
        main()
    finally:
        # sys.exit() in a handler: core need not wait for threads that keep the interpreter up.
        os.close(EVENTS)
        os.close(ANSWERS)
