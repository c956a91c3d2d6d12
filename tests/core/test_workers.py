"""Which card a worker gets; what workers make is tested with plans."""

import pytest

from dreamstereo_core.workers import card_of


@pytest.mark.parametrize(
    ("number", "cards", "visible", "card"),
    [
        (0, 2, None, "0"),
        (3, 2, None, "1"),
        (1, 4, "", "1"),
        (0, 2, "2,3", "2"),
        (3, 2, "2, 3", "3"),
        (1, 2, "GPU-5f,GPU-a0", "GPU-a0"),
        (1, 1, "7,-1,6", "7"),
    ],
)
def test_workers_take_turns_on_the_cards_that_may_be_seen(number, cards, visible, card):
    assert card_of(number, cards, visible) == card
