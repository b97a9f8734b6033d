"""How made requests word wishes, in English and in Chinese."""

from __future__ import annotations

from programs.deepplanning.travel.database import Language

MODES: dict[str, dict[Language, str]] = {
    "train": {"en": "train", "zh": "直达火车"}, "flight": {"en": "flight", "zh": "直飞航班"}
}  # fmt: skip
WAYS: dict[str, dict[Language, str]] = {
    "out": {"en": "outbound", "zh": "去程"}, "back": {"en": "return", "zh": "回程"}
}  # fmt: skip
STARS: dict[Language, tuple[str, ...]] = {"en": ("two", "three", "four", "five"), "zh": ("二", "三", "四", "五")}
PHRASES: dict[str, str] = {
    "Free Parking": "free parking", "TV Casting": "screen mirroring on the TV", "SPA Service": "SPA services",
    "Robot Service": "robot room service", "Swimming Pool": "a swimming pool", "Gym": "a gym",
    "电视可投屏": "电视投屏功能", "泳池": "泳池", "健身房": "健身房",
    "Private Room": "that offers private rooms", "Must-Eat Top 10": "ranked in the top ten on the must-eat list",
    "Online Queue": "where we can queue online", "Outdoor Seating": "with outdoor seating",
    "Birthday Package": "that offers birthday set menus", "Waiting Area": "with a waiting area",
    "必吃榜top10": "必吃榜前十的", "线上取号排队": "可以线上取号排队的", "户外座位": "有户外座位的",
    "生日套餐服务": "有生日套餐服务的", "有包间": "有包间的", "有等位区": "有等位区的",
    "Sichuan Cuisine": "Sichuan restaurant", "Seafood Restaurant": "seafood restaurant",
    "Halal Restaurant": "halal restaurant", "Western Restaurant": "Western restaurant",
    "四川菜(川菜)": "川菜馆", "海鲜酒楼": "海鲜酒楼", "清真菜馆": "清真菜馆", "西餐厅(综合风味)": "西餐厅",
}  # fmt: skip
"""How a request words a value of the tables; others as they are."""

SENTENCES: dict[str, dict[Language, str]] = {
    "trip earliest_departure_direct": {
        "en": "For the outbound journey, please pick the earliest direct {mode}, so that we have more time to explore.",
        "zh": "去程帮我选最早出发的{mode}，这样可以多玩一会儿。",
    },
    "trip latest_arrival_direct": {
        "en": "For the return journey, please choose the latest arriving direct {mode}.",
        "zh": "回程麻烦帮我选一趟最晚到达的{mode}。",
    },
    "trip cheapest_direct": {
        "en": "For the {way} journey, I'd like the cheapest direct {mode} there is.",
        "zh": "{way}帮我看看价格最便宜的{mode}。",
    },
    "trip shortest_duration_direct": {
        "en": "For the {way} journey, we'd like the shortest-duration direct {mode}.",
        "zh": "{way}想选一趟行程时间最短的{mode}。",
    },
    "trip departure_time_range": {
        "en": "For the outbound journey, we'd like a {mode} departing between {from} and {until}.",
        "zh": "去程希望选{from}到{until}之间出发的{mode}。",
    },
    "trip seat_class": {
        "en": "We'd like to take the train both ways, with first-class seats.",
        "zh": "我们想坐火车往返，麻烦订一等座。",
    },
    "trip cheapest_airline_direct": {
        "en": "For the outbound journey, please book the cheapest direct flight of {airline}.",
        "zh": "去程想坐{airline}的飞机，选他们家最便宜的直飞航班。",
    },
    "hotel cheapest_brand": {
        "en": "For accommodation, please book the cheapest '{brand}' hotel.",
        "zh": "住宿的话，帮我订'{brand}'里最便宜的一家酒店。",
    },
    "hotel cheapest_star": {
        "en": "As for the hotel, please find the most affordable {star}-star hotel.",
        "zh": "住的地方，帮我找一家{star}星级酒店里最便宜的。",
    },
    "hotel highest_rated": {
        "en": "For accommodation, we'd like the highest-rated hotel in town.",
        "zh": "住宿方面，帮我安排评分最高的酒店。",
    },
    "hotel star_highest_rated": {
        "en": "For accommodation, a {star}-star hotel is fine, but please pick the one with the highest rating.",
        "zh": "住宿的话，{star}星级酒店就行，但要评分最高的。",
    },
    "hotel newest_decoration": {
        "en": "For accommodation, please choose a hotel renovated after {year}.",
        "zh": "住的地方，帮我挑一家{year}年以后装修的酒店。",
    },
    "hotel price_range": {
        "en": "For accommodation, our budget is between {low} and {high} yuan per night.",
        "zh": "住宿的预算是每晚{low}到{high}元之间。",
    },
    "hotel star_service_required": {
        "en": "For accommodation, we'd like a {star}-star hotel with {service}.",
        "zh": "住的地方想要一家{star}星级酒店，最好有{service}。",
    },
    "meal cheapest_nearby_attraction": {
        "en": "please arrange a meal at the cheapest restaurant near '{near}'.",
        "zh": "想在'{near}'附近找一家人均消费最便宜的餐厅吃一顿饭。",
    },
    "meal highest_rated": {
        "en": "we've heard there is good food around '{near}', so please pick the highest-rated restaurant there.",
        "zh": "听说'{near}'附近有不少好吃的，帮我挑一家评分最高的餐厅吃一顿饭。",
    },
    "meal closest_to_attraction": {
        "en": "please arrange a meal at the restaurant closest to '{near}'.",
        "zh": "想在离'{near}'最近的餐厅吃一顿饭。",
    },
    "meal specific_tag_nearby": {
        "en": "we'd like a meal near '{near}', at a restaurant {tag}.",
        "zh": "想在'{near}'附近吃一顿饭，找一家{tag}餐厅。",
    },
    "meal specific_cuisine_nearby": {
        "en": "please find a {cuisine} near '{near}' for one meal.",
        "zh": "想在'{near}'附近的{cuisine}吃一顿饭。",
    },
    "meal must_eat_named": {
        "en": "we definitely want to eat at '{name}'.",
        "zh": "一定要去'{name}'吃一顿饭。",
    },
    "visit must_visit_named": {
        "en": "As for sights, we definitely want to visit '{first}' and '{second}'.",
        "zh": "景点的话，'{first}'和'{second}'一定要安排进行程。",
    },
    "visit all_of_type": {
        "en": "As for sights, please include all recommended '{type}' attractions.",
        "zh": "景点方面，请把推荐的'{type}'类景点都安排上。",
    },
    "visit top_rated_must_visit": {
        "en": "As for attractions, please include the top three highest-rated ones.",
        "zh": "景点的话，帮我挑评分最高的三个景点。",
    },
    "visit all_free_attractions": {
        "en": "As for sights, we'd like to visit the free attractions.",
        "zh": "景点方面，免费的景点都想去看看。",
    },
    "visit type_highest_rated": {
        "en": "As for sights, please include the highest-rated one in the '{type}' category.",
        "zh": "景点的话，请安排一个评分最高的'{type}'类景点。",
    },
}
OPENINGS: dict[Language, str] = {
    "en": "I'm planning a trip from {origin} to {destination} on {depart}, and will return on {back}. {party}",
    "zh": "我打算{depart}从{origin}出发去{destination}玩，{back}回来。{party}",
}
PARTIES: dict[Language, tuple[str, ...]] = {
    "en": (
        "I'm traveling alone, and need one room.",
        "There are two of us, and one room will do.",
        "There are three of us, so we'll need two rooms.",
        "We are four people, and need two rooms.",
    ),
    "zh": (
        "我一个人住，订一间房就行。",
        "我们两个人出行，住一间房就够了。",
        "我们一共三个人，需要订两间房。",
        "我们一共4个人，需要两间房。",
    ),
}
"""By the number of people, of whom two share a room."""
MEALS: dict[Language, tuple[str, str]] = {"en": ("First, ", "Second, "), "zh": ("吃饭的话，第一顿", "另外，第二顿")}
BUDGETS: dict[Language, str] = {
    "en": "The total budget for this trip should be within {max} yuan.", "zh": "这次旅行的总花费请控制在{max}元以内。"
}  # fmt: skip
CLOSINGS: dict[Language, str] = {
    "en": "That covers everything, so please plan the full itinerary! {depart} is {weekday}",
    "zh": "基本就是这些了，直接帮我规划行程吧！{depart}是{weekday}",
}
