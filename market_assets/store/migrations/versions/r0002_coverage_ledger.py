"""Stands in for the revision of the coverage ledger, which is not on this branch; changes nothing.

Revision 0002, after 0001. To be replaced by the real one when the branches meet.
"""

from __future__ import annotations

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change nothing."""


def downgrade() -> None:
    """Refuse: versions of rows are never thrown away."""
    raise NotImplementedError("the store never goes back: restore a backup instead")
