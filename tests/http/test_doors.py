"""Listening sockets: which ports they take, what is said when they cannot, and handing them on."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from pylon.errors import ConfigError
from pylon.http.doors import Doors, bind_doors, inherit_doors


@pytest.fixture
def doors() -> Iterator[Doors]:
    bound = bind_doors("127.0.0.1", 0)
    yield bound
    bound.close()


def test_three_neighbours_or_one() -> None:
    three, one = bind_doors("127.0.0.1", 0), bind_doors("127.0.0.1", 0, single_port=True)
    ports = three.ports
    assert (ports.ws, ports.sse) == (ports.main + 1, ports.main + 2)
    assert (one.ports.ws, one.ports.sse) == (None, None)
    three.close()
    one.close()


@pytest.mark.parametrize("port", [-1, 65_534, 70_000])
def test_ports_that_there_are_not(port: int) -> None:
    with pytest.raises(ConfigError) as caught:
        bind_doors("127.0.0.1", port)
    assert caught.value.code == "PORT_INVALID"


@pytest.mark.parametrize(("offset", "name"), [(0, "Port"), (1, "WebSocket door"), (2, "SSE door")])
def test_a_port_in_use_is_named_with_its_door(doors: Doors, offset: int, name: str) -> None:
    main = doors.ports.main
    for number, (_, bound) in enumerate(doors.sockets):
        if number == offset:
            bound.listen()
        else:
            bound.close()
    with pytest.raises(ConfigError) as caught:
        bind_doors("127.0.0.1", main)
    assert caught.value.code == "PORT_IN_USE"
    assert str(main + offset) in caught.value.message
    assert name in caught.value.message


def test_a_host_of_another_machine() -> None:
    with pytest.raises(ConfigError) as caught:
        bind_doors("no-such-host.invalid", 0)
    assert caught.value.code == "HOST_INVALID"


def test_sockets_are_handed_on_by_their_numbers(doors: Doors) -> None:
    description = ",".join(f"{door}={os.dup(bound.fileno())}" for door, bound in doors.sockets)
    heirs = inherit_doors(description)
    assert heirs.ports == doors.ports
    assert heirs.describe() == description
    assert len(heirs.file_descriptors()) == 3
    heirs.close()


@pytest.mark.parametrize("text", ["", "main", "main=", "main=x", "cellar=3", "main=99999"])
def test_a_bad_inheritance_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        inherit_doors(text)
    assert caught.value.code == "DOORS_INVALID"


def test_every_address_means_both_families() -> None:
    bound = bind_doors("0.0.0.0", 0, single_port=True)
    ((_, only),) = bound.sockets
    only.listen()
    with socket.create_connection(("127.0.0.1", bound.ports.main), 10):
        pass
    if only.family == socket.AF_INET6:
        with socket.create_connection(("::1", bound.ports.main), 10):
            pass
    bound.close()
