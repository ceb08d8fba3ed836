"""Receipts: what a data set was made of, precise enough to make it again and to say what has changed since.

Belongs here: writing receipts and verifying them. Does not belong here: making data sets (`client/`), collecting.
"""

from market_assets.receipts.document import make_receipt, request_of, write_with_receipt
from market_assets.receipts.files import FileFormat
from market_assets.receipts.form import read_receipt, receipt_path
from market_assets.receipts.verify import Finding, Verdict, verify_receipt

__all__ = [
    "FileFormat",
    "Finding",
    "Verdict",
    "make_receipt",
    "read_receipt",
    "receipt_path",
    "request_of",
    "verify_receipt",
    "write_with_receipt",
]
