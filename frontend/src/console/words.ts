// What the console says to people, in the page's language.
import type { Status } from './link';

const ENGLISH = {
  connecting: 'Connecting…',
  attached: 'Connected.',
  moved: 'The machine is moving to another host…',
  detached: 'Connected, but the console is not there now: {reason}.',
  waiting: 'Connection lost. Trying again in {seconds} s…',
  'signed-out': 'You are signed out. Sign in and open the console again.',
  gone: 'This machine is no longer there, or no longer yours.',
  rights: 'You may no longer look at this machine.',
  'too-many': 'Too many consoles are open. Close one, then reconnect.',
  refused: 'The server refused what this page sent. Reload the page.',
  gap: '{bytes} bytes are no longer kept',
  mine: 'You have the pen',
  theirs: '{user} has the pen',
  nobodys: 'Nobody has the pen: type to take it',
  viewers: 'Looking: {count}',
  take: 'Take the pen',
  release: 'Give the pen back',
  search: 'Search',
  searchFor: 'Search in the console',
  previous: 'Previous match',
  next: 'Next match',
  noMatch: 'No match',
  closeSearch: 'Close the search',
  download: 'Download what is shown',
  replay: 'Replay from the first kept line',
  larger: 'Larger letters',
  smaller: 'Smaller letters',
  size: 'Tell the guest this window’s size (types an stty command)',
  fullScreen: 'Full screen',
  reconnect: 'Reconnect',
  keys: 'Keys a phone does not have',
  leave: 'Shift+Esc leaves the console',
  open: 'Open this address in a new tab?\n\n{address}',
  terminal: 'Console of {name}',
};

export type Words = typeof ENGLISH;

const RUSSIAN: Words = {
  connecting: 'Соединение…',
  attached: 'Соединено.',
  moved: 'Машина переезжает на другой хост…',
  detached: 'Соединено, но консоли сейчас нет: {reason}.',
  waiting: 'Связь потеряна. Новая попытка через {seconds} с…',
  'signed-out': 'Вы вышли из системы. Войдите и откройте консоль снова.',
  gone: 'Этой машины больше нет, или она больше не ваша.',
  rights: 'Вам больше нельзя смотреть на эту машину.',
  'too-many': 'Открыто слишком много консолей. Закройте одну и соединитесь снова.',
  refused: 'Сервер не принял то, что прислала страница. Обновите её.',
  gap: 'байтов больше не хранится: {bytes}',
  mine: 'Перо у вас',
  theirs: 'Перо у {user}',
  nobodys: 'Перо свободно: начните печатать',
  viewers: 'Смотрят: {count}',
  take: 'Взять перо',
  release: 'Отдать перо',
  search: 'Поиск',
  searchFor: 'Искать в консоли',
  previous: 'Предыдущее совпадение',
  next: 'Следующее совпадение',
  noMatch: 'Не найдено',
  closeSearch: 'Закрыть поиск',
  download: 'Скачать показанное',
  replay: 'Повторить с первой сохранённой строки',
  larger: 'Крупнее',
  smaller: 'Мельче',
  size: 'Сообщить гостю размер окна (напечатает команду stty)',
  fullScreen: 'На весь экран',
  reconnect: 'Соединиться снова',
  keys: 'Клавиши, которых нет на телефоне',
  leave: 'Shift+Esc выводит из консоли',
  open: 'Открыть этот адрес в новой вкладке?\n\n{address}',
  terminal: 'Консоль {name}',
};

/** The server's reasons, which are English sentences, as this language says them. */
const REASONS: Record<string, string> = {
  'the machine is not running': 'машина не запущена',
  'somebody has xl console open': 'кто-то открыл xl console',
  "the host's console service does not answer": 'служба консолей хоста не отвечает',
  "the host's console service is stopping": 'служба консолей хоста останавливается',
  "the portal's message broker is away": 'брокер сообщений портала недоступен',
};

const isRussian = (language: string): boolean => language.toLowerCase().startsWith('ru');

export function wordsFor(language: string): Words {
  return isRussian(language) ? RUSSIAN : ENGLISH;
}

export function reasonIn(language: string, reason: string): string {
  return isRussian(language) ? (REASONS[reason] ?? reason) : reason;
}

export function fill(text: string, values: Record<string, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** The connection in words; `console` is what the server last said of the console itself. */
export function statusLine(
  words: Words,
  language: string,
  status: Status,
  console: { state: string; reason: string },
): string {
  switch (status.kind) {
    case 'connecting':
      return words.connecting;
    case 'waiting':
      return fill(words.waiting, { seconds: Math.ceil(status.milliseconds / 1000) });
    case 'over':
      return words[status.why];
    case 'open':
      if (console.state === 'attached') return words.attached;
      if (console.state === 'moved') return words.moved;
      if (console.state === '') return words.connecting;
      return fill(words.detached, { reason: reasonIn(language, console.reason) });
  }
}
