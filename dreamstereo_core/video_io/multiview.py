"""Two plain HEVC streams, one for each eye, become the two layers of one MV-HEVC stream.

The right eye is a layer that does not depend on the left one (ITU-T H.265, annexes F and G). Then
its slices are those of ordinary HEVC, byte for byte: a video parameter set that tells of two
layers, and a layer's number in the header of each unit, are all that is new.
"""

from __future__ import annotations

from dataclasses import dataclass

from .bits import BitReader, BitWriter, join_units, split_units

VPS, SPS, PPS, SEI = 32, 33, 34, 39
_SLICES = range(32)
"""Types of units that hold parts of a picture."""
_MULTIVIEW_MAIN = 6
_DISPLAYS = 176
_PRESENT_8_BIT_420 = 0b111110001
"""general_max_12bit_, 10bit_, 8bit_, 422chroma_, 420chroma_constraint_flag, and that the rate may
be low: what Multiview Main asks for (annex G.11.1.1)."""


@dataclass(frozen=True)
class Profile:
    """A general profile, tier and level (H.265, 7.3.3), as MP4's boxes repeat it."""

    idc: int
    """profile_space, tier and profile_idc in one byte."""
    compatibility: int
    """32 flags."""
    constraints: int
    """48 flags."""
    level: int

    def put(self, bits: BitWriter) -> None:
        """Write it as in a parameter set."""
        bits.put(self.idc, 8).put(self.compatibility, 32).put(self.constraints, 48)
        bits.put(self.level, 8)


@dataclass(frozen=True)
class Layers:
    """What both layers are made of."""

    vps: bytes
    sps: bytes
    pps: bytes
    """Of the base layer. The other one has the same sets under its own number."""
    profiles: tuple[Profile, Profile]
    """Of the base layer, and of the other one."""
    size: tuple[int, int]
    """Width and height of the coded picture, with what is cropped from it."""

    @property
    def displays(self) -> bytes:
        """A message that says which view is for which eye."""
        return _reference_displays()


def make_layers(headers: bytes) -> Layers:
    """Return the two layers for the headers of a plain stream of 8 bits, 4:2:0.

    Raises:
        ValueError: the headers are not those of one plain stream.
    """
    sets = {unit_type(unit): unit for unit in split_units(headers)}
    if not {VPS, SPS, PPS} <= sets.keys():
        raise ValueError("headers: expected a video, a sequence and a picture parameter set")
    base, size, order = _read_sequence(sets[SPS])
    constraints = base.constraints >> 44 << 44 | _PRESENT_8_BIT_420 << 35
    other = Profile(
        base.idc & 0b11100000 | _MULTIVIEW_MAIN,
        1 << 31 - _MULTIVIEW_MAIN,
        constraints,
        base.level,
    )
    vps = _video_parameters(base, other, size, order)
    return Layers(vps, sets[SPS], sets[PPS], (base, other), size)


def join_pictures(left: bytes, right: bytes, *, key: bool) -> bytes:
    """Return both eyes' packets of one picture as one packet; parameter sets are left out.

    Raises:
        ValueError: the two are coded in different ways.
    """
    ours = [unit for unit in split_units(left) if unit_type(unit) not in (VPS, SPS, PPS)]
    theirs = [unit for unit in split_units(right) if unit_type(unit) in _SLICES]
    kinds = [unit_type(unit) for unit in ours if unit_type(unit) in _SLICES]
    if kinds != [unit_type(unit) for unit in theirs]:
        raise ValueError("right: expected the same kinds of units as the left eye's picture has")
    message = [_reference_displays()] if key else []
    return join_units([*message, *ours, *map(other_layer, theirs)])


def unit_type(unit: bytes) -> int:
    """Return a unit's type (H.265, table 7-1)."""
    return unit[0] >> 1 & 63


def other_layer(unit: bytes) -> bytes:
    """Return a unit of the base layer as one of layer 1."""
    return unit[:1] + bytes([unit[1] | 1 << 3]) + unit[2:]


def _read_sequence(sps: bytes) -> tuple[Profile, tuple[int, int], tuple[int, int, int]]:
    """Return profile, coded size, and the last sub-layer's picture buffer, reordering, latency."""
    bits = BitReader(sps)
    bits.take(4)
    sub_layers = bits.take(3)
    bits.take(1)
    profile = Profile(bits.take(8), bits.take(32), bits.take(48), bits.take(8))
    if sub_layers:
        raise ValueError("headers: expected one temporal layer")
    bits.exponential()  # its own number
    chroma = bits.exponential()
    size = bits.exponential(), bits.exponential()
    if bits.take(1):  # a window inside the coded picture
        for _ in range(4):
            bits.exponential()
    depths = bits.exponential(), bits.exponential()
    if chroma != 1 or depths != (0, 0):
        raise ValueError("headers: expected 4:2:0 of 8 bits")
    bits.exponential()  # the length of picture order counts
    bits.take(1)
    return profile, size, (bits.exponential(), bits.exponential(), bits.exponential())


def _video_parameters(
    base: Profile, other: Profile, size: tuple[int, int], order: tuple[int, int, int]
) -> bytes:
    """Write a video parameter set of two independent layers (H.265, F.7.3.2.1)."""
    bits = BitWriter()
    bits.put(0, 4).put(0b11, 2)  # its number; the base layer is in the stream
    bits.put(1, 6).put(0, 3).put(1).put(0xFFFF, 16)  # two layers, one sub-layer, nested
    base.put(bits)
    bits.put(1).exponential(*order)
    bits.put(1, 6).exponential(1).put(0b11, 2)  # layers up to 1; one more set: both of them
    bits.put(0).put(1).align(1)  # no timing; the extension follows

    bits.put(base.level, 8)  # F.7.3.2.1.1: profile_tier_level(0, 0)
    bits.put(0).put(1 << 14, 16)  # scalability by views only
    bits.put(0, 3).put(0).put(1, 1)  # numbers of one bit; layer 1 has ViewOrderIdx 1
    bits.put(1, 4).put(0, 1).put(1, 1)  # view ids of one bit: 0 and 1
    bits.put(0).exponential(0)  # layer 1 does not depend on layer 0; no further sets
    bits.put(0).put(0).put(0)  # nothing about sub-layers, nor about what refers to what
    bits.exponential(2)  # three profiles; the first two are there already
    bits.put(1)
    other.put(bits)
    bits.exponential(0).put(0, 2)  # no further output sets; all layers are shown
    bits.put(1, 2).put(2, 2)  # each layer's profile
    bits.exponential(0)  # one format of pictures
    bits.put(size[0], 16).put(size[1], 16).put(1).put(1, 2).put(0, 4).put(0, 4).put(0)
    bits.put(1).put(0)  # at most one active reference layer; order counts need not agree
    bits.put(1)  # layer 1's IDR pictures have no order count, as those of plain HEVC
    bits.put(0).exponential(order[0], order[0], *order[1:])  # dpb_size()
    bits.exponential(0).put(0)  # nothing about kinds of dependency, since there is none
    bits.exponential(0).put(0)  # no more data, no usability information
    bits.put(0)  # vps_extension2_flag
    return bits.unit(VPS)


def _reference_displays() -> bytes:
    """Write the message of H.265, G.14.2.3: view 0 is for the left eye, 1 for the right one."""
    bits = BitWriter()
    bits.exponential(0).put(0).exponential(0)  # precision; no distance; one display
    bits.exponential(0, 1)
    bits.put(37, 6).put(36, 6)  # it is 2^6 * (1 + 36/64) = 100 cm wide
    bits.put(0).put(0)  # no shift, no extension
    payload = bits.payload()
    message = BitWriter().put(_DISPLAYS, 8).put(len(payload), 8)
    for byte in payload:
        message.put(byte, 8)
    return message.unit(SEI)
