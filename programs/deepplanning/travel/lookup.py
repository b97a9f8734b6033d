"""The nine tools of the DeepPlanning travel domain as typed methods over one task's database."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

from typing_extensions import NotRequired, TypedDict

from programs.deepplanning.travel.database import Row, Rows, TravelDatabase
from programs.deepplanning.travel.wording import WORDINGS


class Segment(TypedDict):
    """One train or flight of a trip; `equipSize` and what follows are of flights only."""

    arrCityName: str
    arrStationCode: str
    arrStationName: str
    depCityName: str
    depStationCode: str
    depStationName: str
    duration: int
    arrDateTime: str
    depDateTime: str
    marketingTransportName: str
    marketingTransportNo: str
    seatClassName: str
    remainingSeats: str
    equipSize: NotRequired[str]
    equipType: NotRequired[str]
    manufacturer: NotRequired[str]


class Route(TypedDict):
    """A trip, with changes where it has several segments; the price is of the whole, for one person."""

    segments: list[Segment]
    price: float


class Hotel(TypedDict):
    """A hotel; all cells are texts, as the benchmark shows them."""

    name: str
    address: str
    latitude: str
    longitude: str
    decorationTime: str
    hotelStar: str
    price: str
    score: str
    brand: str
    services: NotRequired[list[str]]


class Attraction(TypedDict):
    """What a recommendation shows of an attraction."""

    attraction_name: str
    description: str
    attraction_type: str


class AttractionDetails(Attraction):
    """All of an attraction; an empty text where the table has no value."""

    attraction_id: str
    city: str
    address: str
    latitude: str
    longitude: str
    rating: str
    opening_time: str
    closing_time: str
    closing_dates: str
    min_visit_hours: str
    max_visit_hours: str
    ticket_price: str


class Location(TypedDict):
    """Where a place is."""

    place_name: str
    latitude: str
    longitude: str


class RoadRoute(TypedDict):
    """The way between two coordinates; the cost is that of one car, and 0 for a walk."""

    origin: str
    destination: str
    distance_in_meters: int
    duration_in_minutes: int
    cost: int


class Restaurant(TypedDict):
    """A restaurant; all cells are texts, as the benchmark shows them."""

    name: str
    latitude: str
    longitude: str
    price_per_person: str
    cuisine: str
    opening_time: str
    closing_time: str
    nearby_attraction_name: str
    rating: str
    tags: NotRequired[list[str]]


class NotFound(LookupError):
    """Nothing in the database fits; the message is the benchmark's."""


class NoTable(NotFound):
    """The task has no trains, or no flights, at all."""


class TravelLookup:
    """The tools under their published names and arguments; an empty optional argument counts as absent.

    What is asked for has to equal the cell to the letter. The tables are small, so that each call reads one through.
    """

    def __init__(self, database: TravelDatabase) -> None:
        self.database = database
        self.wording = WORDINGS[database.language]

    def query_train_info(self, origin: str, destination: str, depDate: str, seatClassName: str = "") -> list[Route]:
        """Trains between two cities on a day (YYYY-MM-DD), of one seat class if it is given.

        Raises:
            NotFound: there is none.
        """
        if self.database.trains is None:
            raise NoTable(self.wording.no_train_table)
        routes = _routes(self.database.trains, origin, destination, depDate, seatClassName)
        if not routes:
            raise NotFound(self.wording.no_train.format(origin, destination, depDate))
        return [{"segments": self._trains(rows), "price": float(rows[0]["price"] or 0)} for rows in routes]

    def query_flight_info(self, origin: str, destination: str, depDate: str, seatClassName: str = "") -> list[Route]:
        """Flights between two cities on a day (YYYY-MM-DD), of one seat class if it is given.

        Raises:
            NotFound: there is none.
        """
        if self.database.flights is None:
            raise NoTable(self.wording.no_flight_table)
        routes = _routes(self.database.flights, origin, destination, depDate, seatClassName)
        if not routes:
            raise NotFound(self.wording.no_flight.format(origin, destination, depDate))
        return [{"segments": self._flights(rows), "price": float(rows[0]["price"] or 0)} for rows in routes]

    def query_hotel_info(
        self, destination: str, checkinDate: str, checkoutDate: str, hotelStar: str = "", hotelBrands: str = ""
    ) -> list[Hotel]:
        """Hotels, of one number of stars and of one brand if they are given; city and days are not looked at.

        Raises:
            NotFound: there is none.
        """
        rows = [
            row for row in self.database.hotels
            if hotelStar in ("", row["hotel_star"]) and hotelBrands in ("", row["brand"])
        ]  # fmt: skip
        if not rows:
            raise NotFound(self.wording.no_hotel.format(destination, checkinDate, checkoutDate))
        return [_hotel(row) for row in rows]

    def recommend_attractions(self, city: str, attraction_type: str = "") -> list[Attraction]:
        """Attractions, of one type if it is given; the city is not looked at.

        Raises:
            NotFound: there is none.
        """
        rows = [row for row in self.database.attractions if attraction_type in ("", row["attraction_type"])]
        if not rows:
            raise NotFound(self.wording.no_attractions)
        return [cast(Attraction, _cells(row, Attraction)) for row in rows]

    def query_attraction_details(self, attraction_name: str) -> AttractionDetails:
        """All of the first attraction of that name.

        Raises:
            NotFound: there is none.
        """
        row = _first(self.database.attractions, "attraction_name", attraction_name)
        if row is None:
            raise NotFound(self.wording.no_attraction.format(attraction_name))
        return cast(AttractionDetails, _cells(row, AttractionDetails))

    def search_location(self, place_name: str) -> Location:
        """Where the first place of that name is.

        Raises:
            NotFound: there is none.
        """
        row = _first(self.database.locations, "poi_name", place_name)
        if row is None:
            raise NotFound(self.wording.no_location.format(place_name))
        return {"place_name": row["poi_name"], "latitude": row["latitude"], "longitude": row["longitude"]}

    def query_road_route_info(self, origin: str, destination: str) -> RoadRoute:
        """The road between two coordinates, each "latitude,longitude" with six decimals.

        Raises:
            NotFound: one of them is no known place, or there is no road from one to the other.
        """
        for coordinates in (origin, destination):
            if not self.database.roads.knows(coordinates):
                raise NotFound(self.wording.unknown_coordinates.format(coordinates))
        road = self.database.roads.leg(origin, destination)
        if road is None:
            raise NotFound(self.wording.no_road.format(origin, destination))
        return cast(RoadRoute, {"origin": origin, "destination": destination, **road._asdict()})

    def recommend_restaurants(self, latitude: str, longitude: str) -> list[Restaurant]:
        """Restaurants near an attraction, a hotel or a station, by its coordinates.

        Raises:
            NotFound: there is none.
        """
        rows = [
            row for row in self.database.restaurants
            if row["query_latitude"] == latitude and row["query_longitude"] == longitude
        ]  # fmt: skip
        if not rows:
            raise NotFound(self.wording.no_restaurants.format(latitude, longitude))
        return [_restaurant(row) for row in rows]

    def query_restaurant_details(self, restaurant_name: str) -> Restaurant:
        """All of the first restaurant of that name.

        Raises:
            NotFound: there is none.
        """
        row = _first(self.database.restaurants, "restaurant_name", restaurant_name)
        if row is None:
            raise NotFound(self.wording.no_restaurant.format(restaurant_name))
        return _restaurant(row)

    def _trains(self, rows: Rows) -> list[Segment]:
        segments = [self._segment(row, row["train_type"], row["train_no"]) for row in rows]
        for earlier, later in pairwise(segments):  # the table knows the cities of the two ends only
            later["depCityName"] = earlier["arrStationName"].partition(self.wording.station)[0]
        return segments

    def _flights(self, rows: Rows) -> list[Segment]:
        return [
            {
                **self._segment(row, row["airline"], row["flight_no"]),
                "equipSize": row["equip_size"],
                "equipType": row["equip_type"],
                "manufacturer": row["manufacturer"],
            }
            for row in rows
        ]

    def _segment(self, row: Row, name: str, number: str) -> Segment:
        return {
            "arrCityName": row["destination_city"],
            "arrStationCode": row["arr_station_code"],
            "arrStationName": row["arr_station_name"],
            "depCityName": row["origin_city"],
            "depStationCode": row["dep_station_code"],
            "depStationName": row["dep_station_name"],
            "duration": int(row["duration"]),
            "arrDateTime": row["arr_datetime"],
            "depDateTime": row["dep_datetime"],
            "marketingTransportName": name,
            "marketingTransportNo": number,
            "seatClassName": row["seat_class"],
            "remainingSeats": row["seat_status"] or self.wording.seats_left,
        }


def _routes(rows: Rows, origin: str, destination: str, date: str, seat_class: str) -> list[Rows]:
    """The rows asked for, grouped by route; both orders are those of text, as all cells are."""
    routes: dict[str, list[Row]] = {}
    for row in rows:
        if (row["origin_city"], row["destination_city"], row["dep_date"]) == (origin, destination, date) and (
            seat_class in ("", row["seat_class"])
        ):
            routes.setdefault(row["route_index"], []).append(row)
    return [tuple(sorted(route, key=lambda row: row["segment_index"])) for _, route in sorted(routes.items())]


def _first(rows: Rows, column: str, name: str) -> Row | None:
    return next((row for row in rows if row[column] == name), None)


def _hotel(row: Row) -> Hotel:
    hotel: Hotel = {
        "name": row["name"],
        "address": row["address"],
        "latitude": row["latitude"],
        "longitude": row["longitude"],
        "decorationTime": row["decoration_time"],
        "hotelStar": row["hotel_star"],
        "price": row["price"],
        "score": row["score"],
        "brand": row["brand"],
    }
    return {**hotel, "services": row["services"].split(";")} if row["services"] else hotel


def _cells(row: Row, kind: type) -> dict[str, str]:
    return {name: row[name] for name in kind.__annotations__}


def _restaurant(row: Row) -> Restaurant:
    restaurant: Restaurant = {
        "name": row["restaurant_name"],
        "latitude": row["latitude"],
        "longitude": row["longitude"],
        "price_per_person": row["price_per_person"],
        "cuisine": row["cuisine"],
        "opening_time": row["opening_time"],
        "closing_time": row["closing_time"],
        "nearby_attraction_name": row["nearby_attraction_name"],
        "rating": row["rating"],
    }
    return {**restaurant, "tags": row["tags"].split(";")} if row["tags"] else restaurant
