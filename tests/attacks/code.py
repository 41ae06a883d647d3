"""Hostile Python: what an attacker does who has taken over a model worker, as if a runtime library had let him.

Each attack is the body of a function ``attack()`` that returns nothing where it was successful, and raises OSError (or
returns its number) where it was stopped. ``STOPPED`` names the outcome and the layer that gives it.
"""

HEAD = """import ctypes, errno, mmap, os, resource, signal, socket, stat, struct, sys, threading, time
import numpy as np
from atoll.engine.runtime import frames, kernel
libc = kernel._libc
SECRET, OUTSIDE, UNIX, PORT, VICTIM = {secret!r}, {outside!r}, {unix!r}, {port}, {victim}

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "denied")

def is_open(descriptor):
    try:
        os.fstat(descriptor)
        return True
    except OSError:
        return False

def to_every_pipe(data):
    for descriptor in range(3, 64):
        try:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                os.write(descriptor, data)
        except OSError:
            pass

def attack():
{body}

def predict(rows):
    try:
        code = attack() or 0
    except OSError as error:
        code = error.errno or errno.EPERM
    return np.full((len(rows), 4), code, np.float32)
"""

SECCOMP, LANDLOCK, ROOT, RLIMITS, NODE, CLEAN = (
    "seccomp", "landlock", "bubblewrap", "rlimits", "the node", "clean environment",
)  # fmt: skip

# name: (body, outcome at strong, layer that gives it, outcome at limited: one of several with |)
STOPPED: dict[str, tuple[str, str, str, str]] = {
    # The network.
    "tcp": ("socket.create_connection(('127.0.0.1', PORT), 1)", "EPERM", SECCOMP, "EPERM"),
    "udp": ("socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT))",
            "EPERM", SECCOMP, "EPERM"),
    "unix socket": ("socket.socket(socket.AF_UNIX).connect(UNIX)", "EPERM", SECCOMP, "EPERM"),
    "abstract unix socket": ("socket.socket(socket.AF_UNIX).connect('\\0atoll-attack')", "EPERM", SECCOMP, "EPERM"),
    "listening": ("socket.create_server(('127.0.0.1', 0))", "EPERM", SECCOMP, "EPERM"),
    "netlink": ("socket.socket(16, socket.SOCK_RAW, 0)", "EPERM", SECCOMP, "EPERM"),
    "a socket left open": (
        "if not any(stat.S_ISSOCK(os.fstat(d).st_mode) for d in range(1024) if is_open(d)): return errno.EBADF",
        "EBADF", "descriptors closed", "EBADF"),
    # Reading what is not his.
    "/etc/passwd": ("open('/etc/passwd').read()", "ENOENT", ROOT, "EACCES"),
    "/etc/shadow": ("open('/etc/shadow').read()", "ENOENT", ROOT, "EACCES"),
    "own /proc": ("open('/proc/self/environ').read()", "ENOENT", ROOT, "EACCES"),
    "others in /proc": ("os.listdir('/proc')", "ENOENT", ROOT, "EACCES"),
    "memory of the first process": ("open('/proc/1/mem', 'rb').read(1)", "ENOENT", ROOT, "EACCES"),
    "a key in the home": ("open(SECRET).read()", "ENOENT", ROOT, "EACCES"),
    "the root folder": ("os.listdir('/')", "EACCES", LANDLOCK, "EACCES"),
    "the raw disk": ("open('/dev/vda', 'rb').read(1)", "ENOENT", ROOT, "EACCES|ENOENT"),
    "kernel memory": ("open('/dev/mem', 'rb').read(1)", "ENOENT", ROOT, "EACCES|ENOENT"),
    "the environment": ("if 'ATOLL_TEST_SECRET' not in os.environ: return errno.ENOENT", "ENOENT", CLEAN, "ENOENT"),
    # Writing anything anywhere.
    "writing outside": ("open(OUTSIDE, 'w').write('x')", "EACCES", SECCOMP, "EACCES"),
    "appending to a key": ("open(SECRET, 'a').write('x')", "EACCES", SECCOMP, "EACCES"),
    "deleting a key": ("os.unlink(SECRET)", "EPERM", SECCOMP, "EPERM"),
    "renaming a key": ("os.rename(SECRET, OUTSIDE)", "EPERM", SECCOMP, "EPERM"),
    "filling /tmp": ("open('/tmp/fill', 'wb').write(bytes(1 << 30))", "EACCES", SECCOMP, "EACCES"),
    "filling /dev/shm": ("open('/dev/shm/fill', 'wb').write(bytes(1 << 30))", "EACCES", SECCOMP, "EACCES"),
    "a symbolic link": ("os.symlink('/etc/passwd', '/tmp/link')", "EPERM", SECCOMP, "EPERM"),
    "a folder": ("os.mkdir('/tmp/folder')", "EPERM", SECCOMP, "EPERM"),
    "a changed library": ("open(np.__file__, 'a').write('x')", "EACCES", SECCOMP, "EACCES"),
    "a setuid file": ("os.chmod(np.__file__, 0o4755)", "EPERM", SECCOMP, "EPERM"),
    # Processes.
    "a shell": ("os.execv('/bin/sh', ['sh', '-c', 'id'])", "EPERM", SECCOMP, "EPERM"),
    "a program": ("os.system('id') and os.fork()", "EPERM", SECCOMP, "EPERM"),
    "fork": ("os.fork()", "EPERM", SECCOMP, "EPERM"),
    "fork bomb": ("while True: os.fork()", "EPERM", SECCOMP, "EPERM"),
    "thread bomb": (
        "try:\n    for k in range(1000): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "except RuntimeError: return errno.EAGAIN", "EAGAIN", SECCOMP, "EAGAIN"),
    "killing another": ("os.kill(VICTIM, signal.SIGKILL)", "EPERM", SECCOMP, "EPERM"),
    "killing everything": ("os.kill(-1, signal.SIGKILL)", "EPERM", SECCOMP, "EPERM"),
    "another's limits": ("resource.prlimit(VICTIM, resource.RLIMIT_CPU, (0, 0))", "EPERM", SECCOMP, "EPERM"),
    "ptrace": ("call(101, 16, VICTIM, 0, 0)", "EPERM", SECCOMP, "EPERM"),
    "another's memory": (
        "buffer = ctypes.create_string_buffer(16)\nvector = (ctypes.c_uint64 * 2)(ctypes.addressof(buffer), 16)\n"
        "call(310, VICTIM, vector, 1, vector, 1, 0)", "EPERM", SECCOMP, "EPERM"),
    "another's descriptors": ("os.pidfd_open(VICTIM)", "EPERM", SECCOMP, "EPERM"),
    # Privileges and the kernel.
    "mount": ("call(165, b'none', b'/tmp', b'tmpfs', 0, None)", "EPERM", SECCOMP, "EPERM"),
    "unmount": ("call(166, b'/tmp', 2)", "EPERM", SECCOMP, "EPERM"),
    "setuid": ("os.setuid(0)", "EPERM", SECCOMP, "EPERM"),
    "chroot": ("os.chroot('/tmp')", "EPERM", SECCOMP, "EPERM"),
    "new namespaces": ("if not kernel.unshare('user', 'mount'): raise OSError(ctypes.get_errno(), '')",
                       "EPERM", SECCOMP, "EPERM"),
    "joining namespaces": ("call(308, 0, 0)", "EPERM", SECCOMP, "EPERM"),
    "bpf": ("call(321, 0, None, 0)", "EPERM", SECCOMP, "EPERM"),
    "perf": ("call(298, None, 0, -1, -1, 0)", "EPERM", SECCOMP, "EPERM"),
    "io_uring": ("call(425, 1, None)", "EPERM", SECCOMP, "EPERM"),
    "keyring": ("call(250, 0, -3, 0)", "EPERM", SECCOMP, "EPERM"),
    "userfaultfd": ("call(323, 0)", "EPERM", SECCOMP, "EPERM"),
    "kernel module": ("call(175, None, 0, b'')", "EPERM", SECCOMP, "EPERM"),
    "the clock": ("time.clock_settime(time.CLOCK_REALTIME, 0)", "EPERM", SECCOMP, "EPERM"),
    "calls of another machine": ("call(0x40000000 + 41, 2, 1, 0)", "ENOSYS", SECCOMP, "ENOSYS"),
    "higher limits": (
        "try: resource.setrlimit(resource.RLIMIT_DATA, (-1, -1))\nexcept ValueError: return errno.EPERM",
        "EPERM", RLIMITS, "EPERM"),
    "memory in files": ("os.write(os.memfd_create('x'), b'x')", "EPERM", SECCOMP, "EPERM"),
    "shared memory": ("mmap.mmap(-1, 8 << 30)", "EPERM", SECCOMP, "EPERM"),
    "memory bomb": ("bytearray(8 << 30)", "SandboxLimit", RLIMITS, "SandboxLimit"),
    "address bomb": ("mmap.mmap(-1, 64 << 30, flags=mmap.MAP_PRIVATE | 0x20, prot=mmap.PROT_READ)",
                     "ENOMEM", RLIMITS, "ENOMEM"),
    # Time and answers.
    "endless loop": ("while True: pass", "SandboxLimit", NODE, "SandboxLimit"),
    "deaf endless loop": (
        "for s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
        "while True: pass", "SandboxLimit", NODE, "SandboxLimit"),
    "endless printing": ("while True: os.write(2, b'x' * 65536)", "SandboxLimit", NODE, "SandboxLimit"),
    "ANSI and death": ("os.write(2, b'\\x1b[2J\\x1b]0;owned\\x07\\r\\n')\nos._exit(1)",
                       "ModelError", NODE, "ModelError"),
    "a crash": ("ctypes.string_at(0)", "ModelError", NODE, "ModelError"),
    "a huge frame": ("to_every_pipe(b'\\xff' * 4)", "SandboxLimit", NODE, "SandboxLimit"),
    "half a frame": ("to_every_pipe(b'\\0\\0\\1\\0x')\ntime.sleep(60)", "SandboxLimit", NODE, "SandboxLimit"),
    "nested msgpack": ("to_every_pipe((9999).to_bytes(4, 'big') + b'\\x91' * 9999)", "ModelError", NODE, "ModelError"),
    "an extension type": ("to_every_pipe(b'\\0\\0\\0\\x03\\xd4\\1x')", "ModelError", NODE, "ModelError"),
    "an answer of his own": (
        "from atoll.engine.encoding import Array\n"
        "to_every_pipe(frames.encode(frames.Prediction(0, Array.of(np.ones((3, 4), np.float32)))))",
        "ModelError", NODE, "ModelError"),
    "closing the pipes": ("os.closerange(0, 64)\ntime.sleep(60)", "ModelError", NODE, "ModelError"),
}  # fmt: skip


def source(name: str, **targets: object) -> bytes:
    """The model file of an attack."""
    indented = "\n".join("    " + line for line in STOPPED[name][0].split("\n"))
    return (HEAD.format(body="@", **targets).replace("@", indented, 1)).encode()
