// Live pages. The events socket sends topics that changed; elements with the topic get the DOM event
// "webxen:changed", and htmx (hx-trigger="webxen:changed") fetches them again. An element's topics are
// in data-live, separated by spaces: "machine:ID", "machines", "job:ID", "jobs", "requests", "hosts".
// A message contains no content: what is shown always comes from an HTTP request.

export interface Change {
  type: string;
  id: string;
  machine?: string;
}

/** Changes within this time cause one request. */
const GATHER_MS = 150;
const RETRY_FIRST_MS = 500;
const RETRY_MOST_MS = 5_000;
/** Minimum interval of HTTP probes while the socket is lost (a proxy may block WebSockets). */
const PROBE_MS = 15_000;
const PATIENCE_MS = 5_000;

export function topicsOf(change: Change): string[] {
  const topics = [`${change.type}:${change.id}`, `${change.type}s`];
  if (change.machine) topics.push(`machine:${change.machine}`, 'machines');
  return topics;
}

export function readChange(untrusted: string): Change | null {
  let value: unknown;
  try {
    value = JSON.parse(untrusted);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const { type, id, machine } = value as Record<string, unknown>;
  if (typeof type !== 'string' || typeof id !== 'string') return null;
  return typeof machine === 'string' ? { type, id, machine } : { type, id };
}

/** Full jitter: clients do not all reconnect to a restarted server at the same time. */
export function retryDelay(attempt: number, random: () => number = Math.random): number {
  const ceiling = Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** attempt);
  return ceiling / 2 + (random() * ceiling) / 2;
}

export function announce(root: ParentNode, topics: ReadonlySet<string> | 'all'): number {
  let told = 0;
  for (const element of root.querySelectorAll<HTMLElement>('[data-live]')) {
    const wanted = (element.dataset['live'] ?? '').split(/\s+/);
    if (topics === 'all' || wanted.some((topic) => topics.has(topic))) {
      element.dispatchEvent(new CustomEvent('webxen:changed', { bubbles: false }));
      told += 1;
    }
  }
  return told;
}

/** Probes by HTTP whether the portal answers although the socket is lost, once per PROBE_MS. */
export function portalState(
  path = '/badges/',
  now: () => number = Date.now,
): () => Promise<'away' | 'deaf'> {
  let asked: Promise<'away' | 'deaf'> | null = null;
  let askedAt = 0;
  return () => {
    if (asked === null || now() - askedAt >= PROBE_MS) {
      askedAt = now();
      asked = fetch(path, {
        method: 'HEAD',
        cache: 'no-store',
        redirect: 'manual',
        signal: AbortSignal.timeout(PATIENCE_MS),
      }).then(
        // a proxy without a running portal answers with these codes
        (answer) => (answer.status >= 502 && answer.status <= 504 ? 'away' : 'deaf'),
        () => 'away',
      );
    }
    return asked;
  };
}

export function liveEvents(root: Document, url = socketUrl('/ws/events/')): void {
  if (root.querySelector('[data-live]') === null) return;
  let attempt = 0;
  let opened = false;
  const waiting = new Set<string>();

  const gather = (change: Change): void => {
    const first = waiting.size === 0;
    for (const topic of topicsOf(change)) waiting.add(topic);
    if (!first) return;
    setTimeout(() => {
      announce(root, waiting);
      waiting.clear();
    }, GATHER_MS);
  };

  const lookAfter = portalState();
  let isOpen = false;

  const connect = (): void => {
    const socket = new WebSocket(url);
    socket.addEventListener('open', () => {
      attempt = 0;
      isOpen = true;
      root.documentElement.setAttribute('data-live-state', 'live');
      if (opened) announce(root, 'all'); // changes during the interruption are not sent again
      opened = true;
    });
    socket.addEventListener('message', (event: MessageEvent<unknown>) => {
      const change = typeof event.data === 'string' ? readChange(event.data) : null;
      if (change) gather(change);
    });
    socket.addEventListener('close', () => {
      isOpen = false;
      void lookAfter().then((state) => {
        if (!isOpen) root.documentElement.setAttribute('data-live-state', state);
      });
      setTimeout(connect, retryDelay(attempt));
      attempt += 1;
    });
  };
  connect();
}

export function socketUrl(path: string, place: Location = window.location): string {
  const scheme = place.protocol === 'https:' ? 'wss:' : 'ws:';
  return `${scheme}//${place.host}${path}`;
}
