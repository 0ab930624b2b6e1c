// The console's texts, in the page's language.
import type { Status } from './link';

const ENGLISH = {
  connecting: 'Connecting…',
  attached: 'Connected.',
  moved: 'The machine is moving to another host…',
  detached: 'Connected, but there is no console now: {reason}.',
  replaying: 'Replaying earlier output… {percent} %. What you type is sent afterwards.',
  tooEarly: 'Wait until the earlier output is there, then type.',
  readOnly: '{user} is typing. Take over to type yourself.',
  taken: '{user} has taken over the keyboard.',
  elsewhere: 'Another window of yours',
  waiting: 'Connection lost. Trying again in {seconds} s…',
  'signed-out': 'You are signed out. Sign in and open the console again.',
  gone: 'This machine is no longer there, or no longer yours.',
  rights: 'You no longer have access to this machine.',
  'too-many': 'Too many consoles are open. Close one, then reconnect.',
  refused: 'The server refused what this page sent. Reload the page.',
  gap: '{bytes} bytes are no longer kept',
  mine: 'You are typing',
  theirs: '{user} is typing',
  nobodys: 'Nobody is typing: type to take over',
  viewers: 'Viewers: {count}',
  take: 'Take over',
  release: 'Release keyboard',
  search: 'Search',
  searchFor: 'Search in the console',
  previous: 'Previous match',
  next: 'Next match',
  noMatch: 'No match',
  closeSearch: 'Close the search',
  download: 'Download what is shown',
  replay: 'Replay from the first kept line',
  larger: 'Larger text',
  smaller: 'Smaller text',
  size: 'Send the window size to the guest (types an stty command)',
  fullScreen: 'Full screen',
  reconnect: 'Reconnect',
  keys: 'Extra keys',
  leave: 'Shift+Esc leaves the console',
  open: 'Open this address in a new tab?\n\n{address}',
  terminal: 'Console of {name}',
};

export type Words = typeof ENGLISH;

const RUSSIAN: Words = {
  connecting: 'Соединение…',
  attached: 'Соединено.',
  moved: 'Машина переносится на другой узел…',
  detached: 'Соединено, но консоли сейчас нет: {reason}.',
  replaying: 'Повтор прежнего вывода… {percent} %. Набранное отправится после него.',
  tooEarly: 'Дождитесь конца повтора, затем печатайте.',
  readOnly: 'Сейчас печатает {user}. Чтобы печатать самому, возьмите управление.',
  taken: 'Управление взял(а) {user}.',
  elsewhere: 'другое ваше окно',
  waiting: 'Связь потеряна. Новая попытка через {seconds} с…',
  'signed-out': 'Вы вышли из системы. Войдите и откройте консоль снова.',
  gone: 'Этой машины больше нет, или она больше не ваша.',
  rights: 'У вас больше нет доступа к этой машине.',
  'too-many': 'Открыто слишком много консолей. Закройте одну и соединитесь снова.',
  refused: 'Сервер не принял то, что прислала страница. Обновите её.',
  gap: 'байтов больше не хранится: {bytes}',
  mine: 'Ввод у вас',
  theirs: 'Ввод у {user}',
  nobodys: 'Ввод свободен: начните печатать',
  viewers: 'Смотрят: {count}',
  take: 'Взять управление',
  release: 'Отдать управление',
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

/** Translations of the server's reasons, which are English sentences. */
const REASONS: Record<string, string> = {
  'the machine is not running': 'машина не запущена',
  'somebody has xl console open': 'кто-то открыл xl console',
  "the host's console service does not answer": 'служба консолей узла не отвечает',
  "the host's console service is stopping": 'служба консолей узла останавливается',
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

/** Describes the connection; `console` is the console's last state as sent by the server. */
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
