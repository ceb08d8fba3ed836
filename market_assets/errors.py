"""The project's own exception types.

Belongs here: every error class that crosses a module boundary. Does not belong here: handling of errors, and errors
private to one module. Each message names the thing, the value and the remedy; none may carry a secret.
"""

from __future__ import annotations


class MarketAssetsError(Exception):
    """Base of every error that this package raises on purpose."""


class SettingsError(MarketAssetsError):
    """A setting has a bad value; the message names field, value and remedy."""


class NaiveTimestampError(MarketAssetsError, ValueError):
    """A datetime without a time zone reached a place that needs UTC."""


class CalendarRangeError(MarketAssetsError, ValueError):
    """A date or instant lies outside of the years that the venue calendars cover."""


# --- source -----------------------------------------------------------------------------------------------------------


class SourceError(MarketAssetsError):
    """A fetch failed. The cause is chained (`raise ... from cause`)."""

    #: short, stable class of failure for ledgers, checks and metrics, e.g. `rate_limited`
    code = "source_error"
    #: whether asking again within the same run can help
    retryable = False


class RateLimitedError(SourceError):
    """The source answered 429: the whole batch stops and backs off."""

    code = "rate_limited"


class SourceAuthError(SourceError):
    """Cookie or crumb were refused (401, 403)."""

    code = "auth"
    retryable = True


class SymbolNotFoundError(SourceError):
    """The source does not know the symbol (404)."""

    code = "symbol_not_found"


class WindowRefusedError(SourceError):
    """The window lies outside what the source serves for this interval (422)."""

    code = "window_refused"


class SourceUnavailableError(SourceError):
    """5xx, connection refused or reset, name resolution."""

    code = "unavailable"
    retryable = True


class SourceTimeoutError(SourceError):
    """No answer within the time limit."""

    code = "timeout"
    retryable = True


class MalformedAnswerError(SourceError):
    """The body is not what the protocol says: truncated JSON, HTML, missing fields."""

    code = "malformed"
    retryable = True


class EmptyAnswerError(SourceError):
    """A well-formed answer without a single bar though the calendar expected some: no data, cause unknown."""

    code = "empty"
    retryable = True


class WrongSymbolError(SourceError):
    """The answer is about another symbol than the one asked for."""

    code = "wrong_symbol"


class AmbiguousBasisError(SourceError):
    """It cannot be told on which splits the prices of an answer stand."""

    code = "ambiguous_basis"


class BatchStoppedError(SourceError):
    """Not asked: an earlier request of the batch was rate limited."""

    code = "batch_stopped"


# --- store ------------------------------------------------------------------------------------------------------------


class StoreError(MarketAssetsError):
    """Reading or writing the database failed."""


class SchemaOutdatedError(StoreError):
    """The database's revision or columns are not this program's; the message names `market-assets migrate`."""


class NoDatabaseError(StoreError):
    """The embedded database does not exist yet; looking at it must not create it."""


class SourceMismatchError(StoreError):
    """The database holds rows of another source; real and simulated bars never mix."""


class CollectionBusyError(MarketAssetsError):
    """Another collection holds the one-slot lock."""


class LeaseLostError(MarketAssetsError):
    """This process held the collection lock but lost its lease."""


class CollectionFailedError(MarketAssetsError):
    """No ticker at all could be fetched."""


class RetentionError(MarketAssetsError):
    """Dagster's runs cannot be purged from the storage that it is configured with."""


# --- client -----------------------------------------------------------------------------------------------------------


class FeatureRequestError(MarketAssetsError, ValueError):
    """What was asked of the client cannot be answered: an unknown feature, entities that cannot be used."""


class MissingExtraError(MarketAssetsError, ImportError):
    """An optional package is not installed; the message names the extra."""


class CorrelationInputError(MarketAssetsError, ValueError):
    """Prices or options from which no correlation can be computed; the message names field, value and remedy."""


class ReceiptError(MarketAssetsError):
    """A receipt cannot be written or read."""
