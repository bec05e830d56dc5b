from __future__ import annotations

import socket

import pytest

from airflow_provider_spotmix.lab import network
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.network import API_PORT, FIRST, LAST, Network, candidates, claim


def test_everything_of_a_lab_is_in_its_own_loopback_network() -> None:
    net = Network(100)
    addresses = [net.api_server, net.system, net.node(0), net.node(119), f"{net.pods(0)}.2", f"{net.pods(119)}.254"]
    assert addresses == [
        "127.100.0.1",
        "127.100.64.1",
        "127.100.65.1",
        "127.100.65.120",
        "127.100.128.2",
        "127.100.247.254",
    ]
    assert net.api_url == f"https://127.100.0.1:{API_PORT}"


def test_a_name_prefers_the_same_network_and_every_network_is_a_candidate_once() -> None:
    first = list(candidates("default"))
    assert first == list(candidates("default"))
    assert sorted(first) == list(range(FIRST, LAST + 1))


def test_a_claimed_network_is_not_given_away_again_until_its_holder_is_gone() -> None:
    one, first = claim("some-lab")
    two, second = claim("some-lab")
    with second:
        assert one != two
    first.close()
    again, third = claim("some-lab")
    with third:
        assert again == one


def test_a_network_in_which_something_listens_is_passed_over() -> None:
    free, holder = claim("some-lab")
    holder.close()
    with socket.create_server((free.api_server, API_PORT)):
        other, holder = claim("some-lab")
        holder.close()
    assert other != free


def test_more_nodes_than_addresses_are_refused() -> None:
    with pytest.raises(LabError, match="at most 120 nodes, not 121"):
        Network(100).node(network.MAX_NODES)
