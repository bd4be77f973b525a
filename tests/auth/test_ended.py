"""Sessions that ended during a handshake: random histories against a list that forgets nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.auth.ended import EndedSessions

steps = st.lists(st.one_of(st.sampled_from([b"a", b"b", b"c", b"d"]), st.none()), max_size=30)


@given(steps, st.integers(1, 4))
def test_no_end_is_missed_and_none_is_made_up(ends: list[bytes | None], kept: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "SESSIONS_ENDED_KEPT", kept)
        ended = EndedSessions()
        marks = [ended.mark]
        for session_id in ends:
            if session_id is None:
                ended.note_gap()
            else:
                ended.note(session_id)
            marks.append(ended.mark)
        for place, mark in enumerate(marks):
            since = ends[place:]
            for session_id in (b"a", b"b", b"c", b"d"):
                told = ended.since(session_id, mark)
                if session_id in since:
                    assert told in ("ended", "unknown")
                if None in since:
                    assert told == "unknown"
                elif session_id not in since:
                    assert told in ("open", "unknown")
                if None not in since and len(set(since)) <= kept:
                    assert told != "unknown", "few enough to be remembered"
            assert ended.since(None, mark) == "open"
