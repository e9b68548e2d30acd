from __future__ import annotations

from proxy.admission.places import Places


def test_a_provider_has_one_place_of_its_own_size() -> None:
    places = Places(2, {"small": 1})
    assert places.of("one") is places.of("one")
    assert (places.of("one").most, places.of("small").most) == (2, 1)


def test_it_is_full_when_all_are_taken() -> None:
    place = Places(2).of("one")
    place.taken += 1
    assert not place.is_full
    place.taken += 1
    assert place.is_full


def test_what_is_served_in_process_cannot_stall() -> None:
    place = Places(1).of("synapscale", stalls=False)
    place.taken += 1000
    assert not place.is_full


def test_a_refusal_says_when_to_come_back_and_is_counted_until_told() -> None:
    places = Places(3)
    refusal = places.of("one").full()
    places.of("one").full()
    assert (refusal.status, refusal.retry_after_s) == (503, 1)
    assert "one" in refusal.message and "3" in refusal.message
    assert places.refused() == [(places.of("one"), 2)]
    assert places.refused() == []
