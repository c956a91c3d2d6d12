"""H.264's message of how two eyes lie in a picture, for encoders that do not write it."""

from __future__ import annotations

from av import Packet

FRAME_PACKING = {  # layout -> frame_packing_arrangement_type (H.264, table D-8)
    "column_interleaved": 1,
    "row_interleaved": 2,
    "full_sbs": 3,
    "half_sbs": 3,
    "vr180": 3,
    "full_tb": 4,
    "half_tb": 4,
    "frame_sequential": 5,
}
_MESSAGE = 45
"""payloadType of a frame packing arrangement."""


def frame_packing_unit(kind: int) -> bytes:
    """Return the NAL unit, with its start code, that says frame_packing_arrangement_type `kind`.

    It holds until another one comes (H.264, D.1.26 and D.2.26); the left eye is frame 0.
    """
    bits = "1"  # frame_packing_arrangement_id 0
    bits += "0"  # it is not cancelled
    bits += f"{kind:07b}" + "0"  # no quincunx sampling
    bits += f"{1:06b}"  # frame 0 is the left eye
    bits += "000000"  # not flipped, no fields, nor alone decodable
    bits += "0" * 16  # the grids' positions
    bits += "0" * 8  # reserved
    bits += "010"  # frame_packing_arrangement_repetition_period 1: until another one
    bits += "0"  # no extension
    bits += "1"  # as SEI messages end where they are not whole bytes (D.1.1)
    bits += "0" * (-len(bits) % 8)
    payload = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return b"\0\0\0\1\x06" + bytes([_MESSAGE, len(payload)]) + _escaped(payload + b"\x80")


def begun_by(unit: bytes, packet: Packet) -> Packet:
    """Return a packet with a unit before it, if a decoder may begin there."""
    return repacketed(unit + bytes(packet), packet) if packet.is_keyframe else packet


def repacketed(data: bytes, like: Packet) -> Packet:
    """Return a packet of other bytes at the same place in time."""
    packet = Packet(data)
    packet.pts, packet.dts, packet.duration = like.pts, like.dts, like.duration
    packet.time_base, packet.is_keyframe = like.time_base, like.is_keyframe
    packet.stream = like.stream
    return packet


def _escaped(payload: bytes) -> bytes:
    """Keep start codes out of a unit's bytes (H.264, 7.4.1)."""
    result, zeros = bytearray(), 0
    for byte in payload:
        if zeros == 2 and byte <= 3:
            result.append(3)
            zeros = 0
        zeros = zeros + 1 if byte == 0 else 0
        result.append(byte)
    return bytes(result)
