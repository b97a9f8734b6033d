"""What a made city is made of in each language: our own names, in the values that the benchmark publishes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from programs.deepplanning.travel.database import Language


class Words(NamedTuple):
    """What things are called in a language."""

    cities: Sequence[str]
    station: str
    airport: str
    firsts: Sequence[str]
    sights: Mapping[str, Sequence[str]]
    kitchens: Sequence[str]
    inns: Sequence[str]
    brands: Sequence[str]
    services: Sequence[str]
    tags: Sequence[str]
    cuisines: Sequence[str]
    common_cuisine: str
    seats: tuple[str, str, str]
    train_types: Sequence[str]
    airlines: Sequence[str]
    makers: Sequence[str]
    always_open: str
    weekdays: Sequence[str]
    enough: str


WORDS: dict[Language, Words] = {
    "en": Words(
        cities=("Aldmoor", "Brightwater", "Calderon", "Dunmere", "Eastholm", "Fenwick"),
        station="{} Station",
        airport="{} Airport",
        firsts=(
            "Lantern", "Willow", "Heron", "Copper", "Maple", "Quartz", "Juniper", "Granite", "Plum", "Saffron",
            "Cedar", "Linden",
        ),
        sights={
            "Historical and Cultural": ("Archive", "Guildhall", "Citadel"),
            "Natural Scenery": ("Lake Park", "Hill Trail"),
            "Leisure Experience": ("Arcade", "Pier"),
            "City Landmark": ("Tower", "Square"),
            "Art Exhibition": ("Gallery", "Art House"),
        },
        kitchens=("Table", "Kitchen", "Noodle House", "Tavern"),
        inns=("Riverside", "Old Town", "Central Station", "Garden Lane"),
        brands=("Home Inn", "Ji Hotel", "Atour Hotel", "Hanting Hotel", "Hilton", "Orange Hotel"),
        services=("Free Parking", "TV Casting", "SPA Service", "Robot Service", "Swimming Pool", "Gym"),
        tags=("Private Room", "Must-Eat Top 10", "Online Queue", "Outdoor Seating", "Birthday Package", "Waiting Area"),
        cuisines=("Sichuan Cuisine", "Seafood Restaurant", "Halal Restaurant", "Western Restaurant"),
        common_cuisine="Chinese Restaurant",
        seats=("Second Class Seat", "First Class Seat", "Economy Class"),
        train_types=("High-Speed Train", "Electric Multiple Unit", "Regular Train"),
        airlines=("Kestrel Airlines", "Northwind Airlines"),
        makers=("Boeing", "Airbus"),
        always_open="Open 24 Hours",
        weekdays=("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        enough="Sufficient",
    ),
    "zh": Words(
        cities=("榆州", "澜城", "岚州", "柏城", "枫州", "砚城"),
        station="{}站",
        airport="{}机场",
        firsts=("灯影", "柳岸", "白鹭", "铜铃", "枫溪", "石英", "青柏", "云岩", "梅坞", "藏花", "杉林", "椴园"),
        sights={
            "历史文化": ("古宅", "会馆", "旧城墙"),
            "自然风光": ("湖公园", "山步道"),
            "休闲体验": ("游乐廊", "码头"),
            "城市地标": ("高塔", "广场"),
            "艺术展览": ("画廊", "艺术馆"),
        },
        kitchens=("小馆", "厨房", "面馆", "酒肆"),
        inns=("河畔店", "老城店", "中心店", "花园店"),
        brands=("如家", "全季", "亚朵", "汉庭", "希尔顿", "桔子"),
        services=("免费停车", "电视可投屏", "SPA服务", "机器人送餐服务", "泳池", "健身房"),
        tags=("有包间", "必吃榜top10", "线上取号排队", "户外座位", "生日套餐服务", "有等位区"),
        cuisines=("四川菜(川菜)", "海鲜酒楼", "清真菜馆", "西餐厅(综合风味)"),
        common_cuisine="中餐厅",
        seats=("二等座", "一等座", "经济舱"),
        train_types=("高铁", "动车", "普快"),
        airlines=("鹞航", "朔风航"),
        makers=("波音", "空客"),
        always_open="全天开放",
        weekdays=("周一", "周二", "周三", "周四", "周五", "周六", "周日"),
        enough="充足",
    ),
}
