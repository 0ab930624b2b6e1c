"""`python -ISE plug.py SOCKET`: the transport program that `xl migrate -s ""` starts.

It passes xl's two pipes to the agent, which listens at SOCKET, and waits until the agent closes the
connection. It copies no bytes. It is started without site-packages and imports as little as possible, because
a guest may be paused meanwhile. Standard library only.
"""

import _socket
import array
import os
import sys


def main(path: str) -> int:
    """Pass the pipes to the agent at `path`. Returns the exit code."""
    # The path may be longer than the 107 bytes that fit into a socket address.
    folder, _, name = path.rpartition("/")
    os.chdir(folder)
    agent = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    agent.connect(name)
    rights = array.array("i", [0, 1]).tobytes()
    agent.sendmsg([b"P"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    # Close the copies of the pipes here, so that xl notices when the agent closes its own.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    agent.recv(1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
