"""What the names of columns say: time, a part of a date, a count of rows, what tells series apart."""

from __future__ import annotations

from transformer_spectrum.data.files.times import words


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENTITY = frozenset({"entity", "series", "unique_id"})
"""Names that tell series apart, whatever the column holds."""

ENTITY_WORDS = _set(
    "entity series country countries location region state province county city area territory jurisdiction name "
    "station site store shop item product article ticker symbol stock asset currency sensor device meter machine node "
    "plant customer user account patient subject person company firm bank sector industry group category class species "
    "geo airline airport route land ort ville pays pais unit family brand household turbine building zone district "
    "stadt gruppe panel sku dept department"
)
IDENTIFIERS = _set("id ids nr no number code key fips zip iso gid sku uid")
YEAR = _set("year years yr yyyy jahr annee année ano año anno rok vuosi år")
MONTH = _set("month months mnth mon mm mo monat mois mes mese")
DAY = _set("day days dd dom mday dayofmonth tag jour giorno dia")
HOUR = _set("hour hours hr hh stunde heure hora ora")
MINUTE = _set("minute minutes minuten")
WEEK = _set("week weeks wk woy weekofyear isoweek epiweek kw woche semaine semana")
QUARTER = _set("quarter quarters qtr q quartal trimestre")
DAY_OF_YEAR = _set("doy dayofyear yday julian julianday")
PARTS = {
    "year": YEAR,
    "month": MONTH,
    "day": DAY,
    "hour": HOUR,
    "minute": MINUTE,
    "week": WEEK,
    "quarter": QUARTER,
    "day of the year": DAY_OF_YEAR,
}
CLOCKS = _set(
    "time date datetime dates times ds timestamp timestamps ts step steps period periods epoch unixtime unix "
    "yearmonth yearweek yearquarter yyyymm yyyymmdd yyyyww yyyyddd yyyyq ym weekday dayofweek dow timeperiod "
    "fiscalyear timeindex timestep zeit datum zeitpunkt fecha temps tiempo decimaldate decimalyear obstime "
    "observationdate refdate"
)
COUNTERS = _set(
    "t index idx id unnamed rowid rownames rownumber rownum row level0 obs n no nr seq sequence sample tick frame "
    "second seconds x1 rn recordid"
)
CORE = _set("time date dates datetime ds timestamp step") | YEAR
"""Names under which nothing but time is expected, whatever the column holds."""
ROW_NUMBERS = _set("index idx id unnamed rowid rownames rownumber rownum row level0 rn recordid")
DATE_WORDS = _set("date datetime timestamp year datum yearmonth yyyymm yyyymmdd epoch")
UNITS = _set("utc gmt cet local s ms us ns sec secs unix iso ad ce bce")


def joined(name: str) -> str:
    """A name without signs, case and units: "Time [s]" and "time" -> "time".

    >>> [joined(name) for name in ("Time [s]", "time", "reportDate")]
    ['time', 'time', 'reportdate']
    """
    return "".join(word for word in words(name) if word not in UNITS) or "".join(words(name))


def part_of_date(name: str) -> str | None:
    """The key of `PARTS` that a name stands for.

    >>> part_of_date("Monat"), part_of_date("month"), part_of_date("price")
    ('month', 'month', None)
    """
    return next((component for component, names in PARTS.items() if joined(name) in names), None)


def named_as_time(name: str) -> bool:
    """Whether the whole name says that a column is time or a part of it.

    >>> [name for name in ("Date", "year", "t", "price") if named_as_time(name)]
    ['Date', 'year']
    """
    return joined(name) in CLOCKS or part_of_date(name) is not None


def mentions_date(name: str) -> bool:
    """Whether a word at an end of the name says that a column may be a date, as in "Order Date".

    >>> mentions_date("Order Date"), mentions_date("date of birth"), mentions_date("updated by date rule")
    (True, True, False)
    """
    name_words = words(name)
    return bool(name_words) and not {name_words[0], name_words[-1]}.isdisjoint(DATE_WORDS)


def named_as_counter(name: str) -> bool:
    """Whether a name is used for counts of rows or steps, but for values too.

    >>> [name for name in ("t", "Unnamed: 0", "seconds", "price") if named_as_counter(name)]
    ['t', 'Unnamed: 0', 'seconds']
    """
    return joined(name) in COUNTERS or numbers_rows(name)


def numbers_rows(name: str) -> bool:
    """Whether a name is that of an index or of a key of rows, never of a measurement.

    >>> [name for name in ("index", "Unnamed: 0", "t") if numbers_rows(name)]
    ['index', 'Unnamed: 0']
    """
    return joined(name) in ROW_NUMBERS or joined(name).startswith("unnamed")


def named_as_entity(name: str) -> bool:
    """Whether a name is usual for what tells series apart.

    >>> [name for name in ("country", "storeName", "price") if named_as_entity(name)]
    ['country', 'storeName']
    """
    return name.lower() in ENTITY or bool(set(words(name)) & ENTITY_WORDS)


def named_as_identifier(name: str) -> bool:
    """Whether a name is usual for numbers that are no measurements.

    >>> [name for name in ("fips", "customer_no", "price") if named_as_identifier(name)]
    ['fips', 'customer_no']
    """
    name_words = words(name)
    return named_as_entity(name) or (bool(name_words) and name_words[-1] in IDENTIFIERS)
