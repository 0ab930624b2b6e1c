"""The shared cache: one count for all processes, and a count of one's own while Redis is away."""

import pickle
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.worker.console_bench import wait_for
from webxen.core import cache as shared
from webxen.core.cache import JsonSerializer, SharedCache
from webxen.settings import CACHES

SETTINGS = CACHES["default"]


class Server:
    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self.argv = ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--save", ""]

    def start(self) -> None:
        self.process = subprocess.Popen(self.argv, stdout=subprocess.DEVNULL)
        wait_for(self.socket.exists, "Redis", 20)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def cache(self) -> SharedCache:
        params = {key: value for key, value in SETTINGS.items() if key not in ("BACKEND", "LOCATION")}
        return SharedCache(f"unix://{self.socket}?db=0", params)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("r"))
    server.start()
    SharedCache._away_until = 0.0
    server.cache()._own.clear()
    yield server
    SharedCache._away_until = 0.0
    server.stop()


class TestShared:
    def test_two_processes_count_together(self, server: Server) -> None:
        one, other = server.cache(), server.cache()
        assert one.add("n", 1, timeout=60)
        assert not other.add("n", 1, timeout=60)
        assert [other.incr("n"), one.incr("n"), other.get("n")] == [2, 3, 3]

    def test_a_limit_of_allauth_is_kept_as_it_was(self, server: Server) -> None:
        cache = server.cache()
        cache.set("history", [1790000000.25, 1790000001.5], 60)
        assert server.cache().get("history") == [1790000000.25, 1790000001.5]
        assert cache.add("lock", True, timeout=10)
        cache.delete("lock")
        assert cache.get("lock", "none") == "none"

    def test_its_keys_have_a_prefix_and_end(self, server: Server) -> None:
        server.cache().set("a", 1, 60)
        with redis.Redis(unix_socket_path=str(server.socket)) as client:
            keys = client.keys("*")
            assert keys == [b"webxen.cache:1:a"]
            assert 0 < client.ttl(keys[0]) <= 60

    def test_nothing_that_is_read_back_can_be_more_than_a_value(self) -> None:
        with pytest.raises(ValueError, match="codec"):
            JsonSerializer().loads(pickle.dumps(print))


class TestWhileRedisIsAway:
    def test_each_process_counts_alone(self, server: Server) -> None:
        cache = server.cache()
        cache.add("n", 1, timeout=60)
        server.stop()
        assert cache.add("n", 1, timeout=60)
        assert [cache.incr("n"), cache.get("n"), cache.get("m", 7)] == [2, 2, 7]
        server.start()

    def test_it_is_asked_again_after_a_while(self, server: Server) -> None:
        cache = server.cache()
        server.stop()
        assert cache.get("n") is None
        server.start()
        with redis.Redis(unix_socket_path=str(server.socket)) as client:
            client.set("webxen.cache:1:n", 5)
        assert cache.get("n") is None
        SharedCache._away_until = 0.0
        assert cache.get("n") == 5
        assert shared.AWAY_SECONDS > 0

    def test_one_that_refuses_is_away_as_well(self, server: Server) -> None:
        cache = server.cache()
        with redis.Redis(unix_socket_path=str(server.socket)) as client:
            client.config_set("maxmemory", "1")
            assert cache.add("n", 1, timeout=60)
            assert cache.incr("n") == 2
            client.config_set("maxmemory", "0")
