"""The words of the travel tools' answers in both languages, as the benchmark writes them."""

from __future__ import annotations

from dataclasses import dataclass

from programs.deepplanning.travel.database import Language


@dataclass(frozen=True)
class Wording:
    """The texts of one language; braces stand for what was asked for, or for columns of a row."""

    station: str  # how the name of a railway station ends
    segment: str
    seats: str
    seats_left: str  # where the table gives no number
    no_train_table: str
    no_train: str
    no_flight_table: str
    no_flight: str  # as the benchmark means it; what its tool answers is an error of its own
    no_hotel: str
    attractions: str
    attraction: str
    no_attractions: str
    attraction_details: str
    hours: str
    no_attraction: str
    no_location: str
    unknown_coordinates: str
    no_road: str
    no_restaurants: str
    no_restaurant: str


_EN = Wording(
    station=" Station",
    segment="Segment {}",
    seats="Remaining Seats",
    seats_left="Available",
    no_train_table="No information found",
    no_train="No train information found from {} to {} on {}",
    no_flight_table="No information found, please check input parameters",
    no_flight="No flight information found from {} to {} on {}",
    no_hotel="No hotel information found in {} from {} to {}, please check parameters or reduce constraints",
    attractions="Recommended attractions:\n\n{}",
    attraction="{attraction_name}, {description}. This is a {attraction_type} type attraction",
    no_attractions="No attraction recommendations found",
    attraction_details="""Attraction ID：{attraction_id}
Attraction Name：{attraction_name}
City：{city}
Address：{address}
Coordinates：Latitude {latitude}，Longitude {longitude}
Description：{description}
Rating：{rating}(average visitor rating)
Opening Hours：{hours}
Closed Dates：{closing_dates}
Minimum Visit Duration：{min_visit_hours} hours
Maximum Visit Duration：{max_visit_hours} hours
Ticket Price：{ticket_price} RMB
Attraction Type：{attraction_type}""",
    hours="{} to {}",
    no_attraction="Detailed information not found for attraction {}",
    no_location="Coordinate information not found for location {}, please check: 1. Whether the place name comes from "
    "other tool results; 2. Whether the place name is exactly consistent with tool results, no abbreviation, renaming "
    "or additional description allowed",
    unknown_coordinates="""Coordinate {} is not in query range, please check:
1. Whether coordinate comes from valid tool query result, not manual input or fabrication;
2. Whether coordinate precision is exactly consistent with query result, 6 decimal places""",
    no_road="No transportation information found from {} to {}",
    no_restaurants="No recommended restaurants found near coordinates ({}, {}), please check coordinate source",
    no_restaurant="Detailed information not found for restaurant {}",
)
_ZH = Wording(
    station="站",
    segment="第{}段",
    seats="剩余票数量",
    seats_left="充足",
    no_train_table="未查询到信息",
    no_train="未找到从 {} 到 {} 在 {} 的火车票信息",
    no_flight_table="未查询到信息，请检查输入参数",
    no_flight="未找到从 {} 到 {} 在 {} 的航班信息",
    no_hotel="未找到满足条件的 {} 在 {} 到 {} 的酒店信息,请检查参数信息或减少约束条件",
    attractions="推荐的景点有：\n\n{}",
    attraction="{attraction_name}，{description}这是一个{attraction_type}类型的景点",
    no_attractions="未找到景点推荐",
    attraction_details="""景点ID：{attraction_id}
景点名称：{attraction_name}
所属城市：{city}
地址：{address}
经纬度坐标：纬度 {latitude}，经度 {longitude}
景点简介：{description}
用户评分：{rating}（游客平均评价）
开放时间：{hours}
闭馆日期：{closing_dates}
建议最短游玩时长：{min_visit_hours} 小时
建议最长游玩时长：{max_visit_hours} 小时
门票价格：{ticket_price} 元
景点类型：{attraction_type}""",
    hours="{} 至 {}",
    no_attraction="未找到景点 {} 的详细信息",
    no_location="未找到地点 {} 的坐标信息, 请检查：1. 地点名称是否来自其他工具的返回结果; "
    "2. 地点名称是否与工具返回结果保持完全一致，不得缩写、改名或添加额外描述",
    unknown_coordinates="""坐标 {} 不在查询范围内，请检查：
1. 坐标是否源自有效的工具查询结果，而非手动输入或编造；
2. 坐标数值精度是否与查询结果保持完全一致,6位小数""",
    no_road="未找到从 {} 到 {} 的交通信息",
    no_restaurants="未找到坐标 ({}, {}) 附近的推荐餐厅, 请检查坐标来源",
    no_restaurant="未找到餐厅 {} 的详细信息",
)
WORDINGS: dict[Language, Wording] = {"en": _EN, "zh": _ZH}
