"""How a value that people watch follows its target: slowly, and never faster than a limit."""

_SETTLE = 1.0  # s in which an eased value comes nearer by a factor of e


def ease(value: float, target: float, frame_rate: float, slew: float) -> float:
    """Move `value` by one frame towards `target`, by at most `slew`."""
    step = (target - value) * min(1.0, 1 / (_SETTLE * frame_rate))
    return value + min(max(step, -slew), slew)
