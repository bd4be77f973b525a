"""Per-message deflate of WebSockets (RFC 7692): what is agreed on, compressing, inflating.

Both sides start afresh with each message (`no_context_takeover`). So an idle socket keeps no zlib
state, and a compressed frame is the same bytes for every reader: the live hub makes it once. The
window is small, because one is set up for each message.

Called by `pylon.http.websocket` and by `pylon.live.outlet`. Figures: docs/decisions/0006.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

from websockets.exceptions import NegotiationError, ProtocolError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import (
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.frames import Frame
from websockets.typing import ExtensionParameter

from pylon import limits
from pylon.http.frames import deflated_text_frame, text_frame

_FLUSHED_BYTES: Final = 4
"""The end of what a flush writes (00 00 FF FF) stays off the wire (RFC 7692 section 7.2.1)."""

_AFTER_LAST_BLOCK_BYTES_MAX: Final = 1
"""What may follow a block that says it is the last: the head of an empty one (section 7.2.3.4)."""


def compressed_text_frame(payload: bytes, level: int) -> bytes:
    """One text message, compressed where it is worth it: neither short nor huge, and shorter
    afterwards. `payload` is UTF-8 already; `level` is zlib's, 1 to 9."""
    if not limits.DEFLATE_BYTES_MIN <= len(payload) <= limits.DEFLATE_BYTES_MAX:
        return text_frame(payload)
    deflater = zlib.compressobj(
        level, zlib.DEFLATED, -limits.DEFLATE_WINDOW_BITS, limits.DEFLATE_MEMORY_LEVEL
    )
    deflated = deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)
    if len(deflated) - _FLUSHED_BYTES >= len(payload):
        return text_frame(payload)
    return deflated_text_frame(deflated[:-_FLUSHED_BYTES])


class _Inflating(PerMessageDeflate):
    """Inflates what one client sends, within the bound of a message."""

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        frame = super().decode(frame, max_size=max_size)
        # zlib keeps all that follows a last block, and it adds nothing to the message's size:
        # fragments without end would fill the memory.
        if self.decode_cont_data:
            inflater = getattr(self, "decoder", None)
            if inflater and len(inflater.unused_data) > _AFTER_LAST_BLOCK_BYTES_MAX:
                raise ProtocolError("data after the last block")
        return frame


class _Offers(ServerPerMessageDeflateFactory):
    """Takes the first offer that can be met; the others are passed over."""

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        answer, agreed = super().process_request_params(params, accepted_extensions)
        if agreed.local_max_window_bits < limits.DEFLATE_WINDOW_BITS:
            raise NegotiationError("the client's window is too small for shared frames")
        return answer, _Inflating(
            agreed.remote_no_context_takeover,
            agreed.local_no_context_takeover,
            agreed.remote_max_window_bits,
            agreed.local_max_window_bits,
        )


OFFERS: Final = (_Offers(server_no_context_takeover=True, client_no_context_takeover=True),)
"""What a WebSocket of ours can agree on, for websockets' `ServerProtocol`."""
