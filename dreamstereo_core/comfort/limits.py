"""How much disparity is comfortable: in percent of the width, or for a screen and a distance.

Parallax p on a screen of width W, in metres, is disparity / 100 * W; e is the distance between the
eyes and D that to the screen. A thing in front is seen at the vergence angle 2 atan((e + p) / 2D),
the screen itself at 2 atan(e / 2D); their difference is the angular disparity.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan, degrees, inf, radians, tan

EYES_M = 0.063
"""Between an adult's eyes; children's are some 50 mm apart."""
_RULE_DEGREES = 1.0
_FRONT, _BEHIND = (1.0, 2.5), (2.0, 4.0)  # Sky's: the majority of shots, and exceptions
_BUDGET = 3.0  # Sky's depth budget
_SHIBATA_NEAR, _SHIBATA_FAR = (1.035, -0.626), (1.129, 0.442)  # slope and intercept, dioptres
_LEAST_RATIO = 1.25

SOURCES = {
    "sky": "BSkyB, Technical Guidelines for Plano Stereoscopic (3D) Programme Content (2010): "
    "a depth budget of 3 % of the width; 1 % in front and 2 % behind for most shots, exceptions up "
    "to 2.5 % and 4 %.",
    "shibata": "Shibata, Kim, Hoffman and Banks, The zone of comfort: predicting visual discomfort "
    "with stereo displays, Journal of Vision 11(8):11 (2011): limits of vergence for a distance of "
    "focus, in dioptres.",
    "degree": "Lambooij, IJsselsteijn, Fortuin and Heynderickx, Visual discomfort and visual "
    "fatigue of stereoscopic displays: a review, JIST 53(3) (2009): one degree of disparity.",
    "parallel": "Mendiburu, 3D Movie Making (2009): eyes do not like to diverge, so parallax "
    "behind the screen stays below the distance between the eyes.",
    "lang": "Lang et al., Nonlinear disparity mapping for stereoscopic 3D, SIGGRAPH (2010): range, "
    "speed and continuity of disparity are what counts; it gives no numbers for these.",
    "ours": "This project's choice, as parts of the depth budget: a third and two thirds for a "
    "jump, a third and a whole a second for the speed, a sixth and two thirds at the borders.",
}


@dataclass(frozen=True)
class Limit:
    """A quantity is safe up to `safe`, and uncomfortable from `hard` on."""

    safe: float
    hard: float
    source: str
    """Keys of `SOURCES`, with spaces between them."""

    def score(self, value: float) -> float:
        """Return 1 up to `safe`, 0 from `hard` on, and between them what lies on a line."""
        return min(1.0, max(0.0, (self.hard - value) / (self.hard - self.safe)))


@dataclass(frozen=True)
class Viewing:
    """The screen that a film is made for; both or none are given.

    Raises:
        ValueError: one is missing, or not positive.
    """

    screen_width: float | None = None
    """In metres."""
    distance: float | None = None
    """From the eyes to the screen, in metres."""

    def __post_init__(self) -> None:
        for name in ("screen_width", "distance"):
            value = getattr(self, name)
            if value is not None and not 0 < value < inf:
                raise ValueError(f"{name}: expected metres above 0, got {value}")
        if (self.screen_width is None) != (self.distance is None):
            missing = "distance" if self.distance is None else "screen_width"
            raise ValueError(f"{missing}: expected both screen_width and distance, or none of them")

    def degrees(self, percent: float) -> float | None:
        """Return a disparity in degrees, > 0 in front; None if no screen is given."""
        if self.screen_width is None or self.distance is None:
            return None
        parallax = percent / 100 * self.screen_width
        return degrees(2 * (atan((EYES_M + parallax) / 2 / self.distance)
                            - atan(EYES_M / 2 / self.distance)))  # fmt: skip


def limits(viewing: Viewing | None = None) -> dict[str, Limit]:
    """Return the limit of each scored quantity of a shot, in percent of the width.

    Example:
        >>> limits()["front"].safe, limits()["front"].hard
        (1.0, 2.5)
        >>> cinema = limits(Viewing(screen_width=12, distance=15))
        >>> round(cinema["behind"].safe, 2)  # the eyes are parallel there
        0.53
    """
    front, behind, source = Limit(*_FRONT, "sky"), Limit(*_BEHIND, "sky"), "ours lang"
    if viewing and viewing.screen_width and viewing.distance:
        front, behind = _for_screen(viewing.screen_width, viewing.distance)
    return {
        "front": front,
        "behind": behind,
        "jump": Limit(_BUDGET / 3, 2 * _BUDGET / 3, source),
        "speed": Limit(_BUDGET / 3, _BUDGET, source),
        "window": Limit(_BUDGET / 6, 2 * _BUDGET / 3, "ours"),
    }


def _for_screen(width: float, distance: float) -> tuple[Limit, Limit]:
    """Return the limits in front and behind: the stricter rule is safe, the other one hard."""
    screen, turn = 2 * atan(EYES_M / 2 / distance), radians(_RULE_DEGREES)
    degree_front = 2 * distance * tan((screen + turn) / 2) - EYES_M
    degree_behind = EYES_M - 2 * distance * tan((screen - turn) / 2)
    zone_front = _parallax(_vergence(1 / distance, *_SHIBATA_NEAR), distance)
    zone_behind = -_parallax(_vergence(1 / distance, *_SHIBATA_FAR), distance)
    front = sorted((degree_front, zone_front))
    behind = sorted((degree_behind, min(zone_behind, EYES_M)))
    return _limit(front, width, "degree shibata"), _limit(behind, width, "degree shibata parallel")


def _vergence(focus: float, slope: float, intercept: float) -> float:
    """Return the vergence, in dioptres, that bounds the zone of comfort for a distance of focus."""
    return max(0.0, (focus - intercept) / slope)


def _parallax(vergence: float, distance: float) -> float:
    """Return the parallax in metres, > 0 in front, of what lies at 1 / `vergence` metres."""
    return EYES_M * (distance * vergence - 1)


def _limit(parallax: list[float], width: float, source: str) -> Limit:
    safe, hard = (100 * metres / width for metres in parallax)
    return Limit(safe, max(hard, _LEAST_RATIO * safe), source)
