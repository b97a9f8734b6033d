"""How the page looks, on light ground and on dark, on paper, and on a phone."""

from __future__ import annotations

STYLE = """\
:root {
  color-scheme: light dark;
  --ink: #1b1f24; --faint: #57606a; --line: #d4d9df; --page: #f6f7f9; --card: #ffffff; --tint: #eef2f6;
  --good: #116329; --bad: #a40e26; --link: #0b57a4; --on: #ffffff;
  --trip: #0b5cad; --visit: #1a7237; --meal: #8f4b00; --hotel: #7431c4; --road: #57606a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e8eaed; --faint: #a3abb5; --line: #3a4149; --page: #101317; --card: #181c21; --tint: #20262d;
    --good: #6fdd8b; --bad: #ff8f8f; --link: #82b8ff; --on: #101317;
    --trip: #82b8ff; --visit: #6fdd8b; --meal: #f0b458; --hotel: #cfabff; --road: #a3abb5;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; font: 16px/1.5 system-ui, "Noto Sans", "Noto Sans CJK SC", sans-serif; color: var(--ink);
  background: var(--page); overflow-wrap: anywhere; }
a { color: var(--link); }
a:focus-visible, [tabindex]:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 4px; }
.skip { position: absolute; left: -100rem; } .skip:focus { left: 1rem; top: 1rem; padding: .5rem 1rem; z-index: 1;
  background: var(--card); }
body > header, main, body > footer { max-width: 76rem; margin: 0 auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 2rem 0 .5rem; }
h2 { font-size: 1.3rem; margin: 0; } h3 { font-size: 1.05rem; margin: 0 0 .4rem; } h4 { font-size: .95rem; margin: 0; }
.note { color: var(--faint); } .notice { border-left: 4px solid var(--meal); padding: .4rem .8rem;
  background: var(--tint); border-radius: 0 6px 6px 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
.overview th, .overview td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
.overview th:first-child, .overview td:first-child { text-align: left; }
.overview tfoot td, .overview tfoot th { font-weight: 600; border-bottom: 0; }
.overview th, .day thead th { color: var(--faint); font-weight: 600; font-size: .85rem; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1.2rem;
  margin: 1.6rem 0; }
article > header { display: flex; flex-wrap: wrap; gap: .5rem .8rem; align-items: center; }
.pill { border-radius: 99rem; padding: .1rem .7rem; font-size: .85rem; font-weight: 600;
  border: 1.5px solid currentColor; }
.good { color: var(--good); } .bad { color: var(--bad); } .unknown { color: var(--meal); }
blockquote { margin: .9rem 0 1.2rem; padding: .1rem 0 .1rem 1rem; border-left: 3px solid var(--line);
  color: var(--faint); max-width: 60rem; }
.trip-body { display: grid; gap: 1.6rem; }
.day { padding: .9rem 0 .3rem; border-top: 1px solid var(--line); display: grid; gap: .8rem; }
.day > h3 { margin: 0; } .day h3 small { color: var(--faint); font-weight: 400; }
.day td, .day tbody th { padding: .28rem .35rem; vertical-align: top; text-align: left; }
.day tbody th { font-weight: 400; white-space: nowrap; width: 6.4rem; }
.day thead th { text-align: left; padding: .1rem .35rem; }
.day td.mark { width: 2rem; padding-right: 0; } .day .cost { text-align: right; white-space: nowrap; width: 4rem; }
.what { color: var(--faint); font-size: .85rem; margin-right: .35rem; } .where { font-weight: 600; }
tr.road .where, tr.wait .where, tr.other .where { font-weight: 400; }
tr.road, tr.wait { color: var(--faint); font-size: .88rem; }
.badge { display: inline-block; min-width: 1.5rem; height: 1.5rem; line-height: 1.5rem; border-radius: 99rem;
  text-align: center; font-size: .8rem; font-weight: 700; color: var(--on); background: var(--road); }
.trip .badge { background: var(--trip); } .visit .badge { background: var(--visit); }
.meal .badge { background: var(--meal); } .hotel .badge { background: var(--hotel); }
.sketch { width: 100%; max-width: 30rem; height: auto; background: var(--tint); border-radius: 10px; display: block; }
.sketch rect { fill: var(--road); stroke: var(--card); stroke-width: 1.5; }
.sketch .trip rect { fill: var(--trip); } .sketch .visit rect { fill: var(--visit); }
.sketch .meal rect { fill: var(--meal); } .sketch .hotel rect { fill: var(--hotel); }
.sketch text { fill: var(--on); font-size: 11px; font-weight: 700; text-anchor: middle; }
.sketch .way { fill: none; stroke: var(--faint); stroke-width: 1.8; } .sketch .head { fill: var(--faint); }
.sketch .grid { fill: none; stroke: var(--line); stroke-width: .5; }
.sketch path.scale { fill: none; stroke: var(--faint); }
.sketch text.scale { fill: var(--faint); font-weight: 400; text-anchor: start; }
aside h3 { margin-top: 1.1rem; } aside > section:first-child h3 { margin-top: 0; }
.bar { display: flex; height: .7rem; border-radius: 99rem; overflow: hidden; gap: 2px; margin: .5rem 0; }
.bar span { min-width: 2px; }
dl { display: grid; grid-template-columns: auto auto; gap: .15rem .8rem; margin: 0; font-size: .92rem; }
dt::before { content: ""; display: inline-block; width: .7rem; height: .7rem; border-radius: 3px; margin-right: .5rem;
  background: var(--own, transparent); }
dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; } .total { font-weight: 700; }
.checks { list-style: none; margin: .3rem 0 0; padding: 0; font-size: .92rem; }
.checks li { display: grid; grid-template-columns: 1.4rem 1fr; padding: .16rem 0; }
.checks .sign { font-weight: 700; } .checks p { margin: 0; color: var(--faint); font-size: .85rem; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
body > footer { padding-bottom: 3rem; }
@media (min-width: 46rem) { .day.has-sketch { grid-template-columns: minmax(0, 3fr) minmax(14rem, 2fr); }
  .day > h3 { grid-column: 1 / -1; } .sketch { position: sticky; top: 1rem; align-self: start; } }
@media (min-width: 68rem) { .trip-body { grid-template-columns: minmax(0, 1fr) 19rem; } }
@media print { body { background: none; } article { break-inside: avoid-page; border: 0; padding: 0; } }
"""
