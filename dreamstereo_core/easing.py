"""Let a visible value follow its target slowly, and never faster than a limit."""

_SETTLE = 1.0  # s, in which the distance to the target shrinks by a factor of e


def ease(value: float, target: float, frame_rate: float, slew: float) -> float:
    """Return `value` one frame later, moved towards `target` by at most `slew`."""
    step = (target - value) * min(1.0, 1 / (_SETTLE * frame_rate))
    return value + min(max(step, -slew), slew)
