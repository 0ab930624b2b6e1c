"""`python -ISE relay_plug.py SOCKET`: the program that `xl migrate -s ""` starts as its transport.

Lives here: giving xl's two pipes to the agent, which waits at SOCKET, and waiting until it hangs up. It
copies no byte. Started without site-packages and with the smallest imports there are: a guest may be
waiting. Standard library only.
"""

import _socket
import array
import os
import sys


def main(path: str) -> int:
    """Hand over the pipes."""
    # A path may be longer than the 107 bytes that fit into an address.
    folder, _, name = path.rpartition("/")
    os.chdir(folder)
    agent = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    agent.connect(name)
    rights = array.array("i", [0, 1]).tobytes()
    agent.sendmsg([b"P"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    # Ours must not keep the pipes open: xl has to notice when the agent is gone.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    agent.recv(1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
