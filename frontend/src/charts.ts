// Charts by uPlot: <div data-chart> with <script type="application/json"> inside, containing
// {"title", "unit", "times": [unix seconds…], "series": [{"name", "values": […]}]}.
import 'uplot/dist/uPlot.min.css';
import uPlot from 'uplot';

interface ChartData {
  title: string;
  unit: string;
  times: number[];
  series: { name: string; values: (number | null)[] }[];
}

const STROKES = ['--tblr-primary', '--tblr-green', '--tblr-orange', '--tblr-purple'];
const HEIGHT = 180;

function draw(element: HTMLElement): void {
  const source = element.querySelector('script[type="application/json"]')?.textContent;
  if (!source) return;
  const data = JSON.parse(source) as ChartData;
  const style = getComputedStyle(element);
  const ink = style.getPropertyValue('--tblr-secondary');
  const chart = new uPlot(
    {
      title: data.title,
      width: element.clientWidth,
      height: HEIGHT,
      axes: [{ stroke: ink }, { stroke: ink, label: data.unit }],
      series: [
        {},
        ...data.series.map((series, index) => ({
          label: series.name,
          stroke: style.getPropertyValue(STROKES[index % STROKES.length] ?? '--tblr-primary'),
        })),
      ],
    },
    [data.times, ...data.series.map((series) => series.values)],
    element,
  );
  new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: HEIGHT })).observe(
    element,
  );
}

for (const element of document.querySelectorAll<HTMLElement>('[data-chart]')) draw(element);
