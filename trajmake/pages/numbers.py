"""Numbers as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

UNKNOWN = "\u2013"


def usd(amount: float | None) -> str:
    """Dollars, with as many digits as say something."""
    if amount is None:
        return UNKNOWN
    if amount >= 100:
        return f"${amount:,.0f}"
    return f"${amount:.2f}" if amount >= 1 or amount == 0 else f"${amount:.4f}"


def tokens(count: int | None) -> str:
    """A count: 940, 12.3k, 4.57M."""
    if count is None:
        return UNKNOWN
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1e3:.1f}k" if count < 999_950 else f"{count / 1e6:.2f}M"


def duration(seconds: float | None) -> str:
    """A time: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds is None:
        return UNKNOWN
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def percent(rate: float | None) -> str:
    """A rate that is in percent already: 63.2 %."""
    return "\u2013" if rate is None else f"{rate:.1f} %"


def count(number: float | None) -> str:
    """A count, or a mean of counts: 1,204, 4.5."""
    if number is None:
        return "\u2013"
    return f"{number:,.0f}" if number == int(number) else f"{number:,.1f}"


def moment(epoch: float | None) -> str:
    """A Unix time as date and minute of UTC."""
    return "\u2013" if epoch is None else datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M")
