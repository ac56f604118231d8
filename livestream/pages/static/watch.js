// The player: HLS by hls.js, or HTTP-FLV by mpegts.js for low latency; it recovers from errors by itself.
'use strict';

const RETRY_MS = 2000;
const TICK_MS = 500;
const STALL_MS = 5000;

const WORDS = {
  offline: 'Offline. Playback starts when the broadcast does.',
  connecting: 'Connecting',
  live: 'Live',
  paused: 'Paused',
  retrying: 'Connection problem. Retrying.',
};

const find = (selector) => document.querySelector(selector);
const stream = find('#player').dataset.stream;
const video = find('video');
const quality = find('#quality');
const lowLatency = find('#low-latency');
const base = `/live/${stream}`;

let playing = null; // what plays now: { latency(), choose(), close() }
let attempt = 0; // an answer to an older attempt is nobody's
let timer = 0;
let skewMs = 0; // the server's clock minus this one
let moved = { at: 0, position: 0 };
const root = new URL('..', location.href).href.slice(0, -1); // a proxy may serve the site below a prefix
let homes = [root]; // where to ask, the next one after trouble: the node of this page, and those that it has told of

function show(state) {
  const shown = find('#state');
  if (shown.dataset.state !== state || shown.textContent !== WORDS[state]) {
    shown.dataset.state = state;
    shown.textContent = WORDS[state];
  }
}

// ---- is it live, and in which qualities

async function text(path) {
  const answer = await fetch(homes[0] + path, { cache: 'no-store' });
  const date = Date.parse(answer.headers.get('date') || '');
  const offMs = date + 500 - Date.now(); // a Date header is cut to whole seconds
  skewMs = Math.abs(offMs) > 2000 ? offMs : 0;
  if (answer.status === 404 || answer.status === 410) return null;
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.text();
}

async function renditions() {
  const master = await text(`${base}/master.m3u8`);
  if (master === null) return [];
  const names = [...master.matchAll(/^([^#\s/]+)\/index\.m3u8/gm)].map((found) => found[1]);
  const playlist = names.length ? await text(`${base}/${names[0]}/index.m3u8`) : null;
  return playlist === null || playlist.includes('#EXT-X-ENDLIST') ? [] : names;
}

function offer(names) {
  const wanted = ['auto', ...names];
  if (wanted.join() === [...quality.options].map((option) => option.value).join()) return;
  const chosen = quality.value;
  quality.replaceChildren(...wanted.map((name) => new Option(name === 'auto' ? 'Auto' : name, name)));
  quality.value = wanted.includes(chosen) ? chosen : 'auto';
}

async function connect(state) {
  close();
  const mine = ++attempt;
  show(state);
  try {
    const names = await renditions();
    if (mine !== attempt) return;
    if (!names.length) return again('offline');
    offer(names);
    moved = { at: performance.now(), position: -1 };
    playing = lowLatency.checked ? playFlv() : playHls();
    video.play().catch(() => {}); // where playing by itself is not allowed, the person presses play
  } catch (error) {
    if (mine === attempt) again('retrying');
  }
}

function again(state) {
  close();
  if (state === 'retrying') homes.push(homes.shift());
  attempt += 1;
  show(state);
  timer = setTimeout(() => connect(state), RETRY_MS);
}

function close() {
  clearTimeout(timer);
  if (playing) playing.close();
  playing = null;
}

// ---- HLS

function learn(clones) {
  const urls = clones.flatMap((clone) => Object.values(clone['URI-REPLACEMENT']['PER-VARIANT-URIS'] || {}));
  homes = [...new Set([...homes, ...urls.map((url) => new URL(url).origin)])];
}

const nameOf = (level) => new URL(level.uri, location.href).pathname.split('/').at(-2);

function playHls() {
  if (!Hls.isSupported()) return playNatively();
  const hls = new Hls({ liveSyncDurationCount: 2, liveMaxLatencyDurationCount: 6, backBufferLength: 30 });
  let recovered = 0;
  const choose = (name) => {
    hls.nextLevel = hls.levels.findIndex((level) => nameOf(level) === name); // none is -1: automatic
  };
  hls.on(Hls.Events.MANIFEST_PARSED, () => {
    const level = hls.levels.findIndex((each) => nameOf(each) === quality.value);
    if (level >= 0) hls.startLevel = hls.loadLevel = level;
  });
  hls.on(Hls.Events.ERROR, (_, error) => {
    if (!error.fatal) return;
    const isFresh = performance.now() - recovered > 10000;
    if (error.type === Hls.ErrorTypes.MEDIA_ERROR && isFresh) {
      recovered = performance.now();
      hls.recoverMediaError();
    } else {
      again('retrying');
    }
  });
  hls.on(Hls.Events.STEERING_MANIFEST_LOADED, (_, { steeringManifest }) => {
    learn(steeringManifest['PATHWAY-CLONES'] || []);
  });
  hls.loadSource(`${homes[0]}${base}/master.m3u8`);
  hls.attachMedia(video);
  const latency = () => {
    const date = hls.playingDate;
    return date ? (Date.now() + skewMs - date.getTime()) / 1000 : hls.latency;
  };
  return { latency, choose, close: () => hls.destroy() };
}

function playNatively() {
  const source = () => `${homes[0]}${base}/${quality.value === 'auto' ? 'master.m3u8' : `${quality.value}/index.m3u8`}`;
  video.src = source();
  const latency = () => {
    const start = video.getStartDate ? video.getStartDate().getTime() : NaN;
    return (Date.now() + skewMs - start) / 1000 - video.currentTime;
  };
  return { latency, choose: () => connect('connecting'), close: empty };
}

// ---- HTTP-FLV

function playFlv() {
  const rendition = quality.value === 'auto' ? 'source' : quality.value;
  const url = `${homes[0]}${base}.flv?rendition=${rendition}`;
  const player = mpegts.createPlayer({ type: 'flv', isLive: true, url }, {
    enableStashBuffer: false,
    liveSync: true,
    liveSyncMaxLatency: 1.5,
    liveSyncTargetLatency: 0.8,
    liveBufferLatencyChasing: true,
    liveBufferLatencyMaxLatency: 3,
    liveBufferLatencyMinRemain: 0.8,
    autoCleanupSourceBuffer: true,
  });
  let isClosed = false;
  const lost = () => setTimeout(() => isClosed || again('retrying')); // never close it from within its own event
  player.on(mpegts.Events.ERROR, lost);
  player.on(mpegts.Events.LOADING_COMPLETE, lost);
  player.attachMediaElement(video);
  player.load();
  const latency = () => {
    const { buffered } = video;
    return buffered.length ? buffered.end(buffered.length - 1) - video.currentTime : NaN;
  };
  const end = () => {
    isClosed = true;
    player.destroy();
    empty();
  };
  return { latency, choose: () => connect('connecting'), close: end };
}

function empty() {
  video.removeAttribute('src');
  video.load();
}

// ---- what is shown

function tick() {
  const now = performance.now();
  find('#sound').hidden = !(playing && video.muted && video.currentTime > 0);
  if (!playing) {
    find('#latency').value = '';
    return;
  }
  if (video.currentTime !== moved.position) {
    moved = { at: now, position: video.currentTime };
    if (!video.paused && video.readyState >= 2) show('live');
  } else if (video.paused && video.readyState >= 2) {
    moved.at = now;
    show('paused');
  } else if (now - moved.at > 3 * STALL_MS) {
    again('retrying');
    return;
  } else if (now - moved.at > STALL_MS) {
    show('retrying');
  }
  const behind = playing.latency();
  const isKnown = Number.isFinite(behind) && video.readyState >= 2;
  find('#latency').value = isKnown ? `${Math.max(0, behind).toFixed(1)} s behind live` : '';
}

function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else video.requestFullscreen().catch(() => {});
}

const KEYS = {
  k: () => (video.paused ? video.play().catch(() => {}) : video.pause()),
  m: () => { video.muted = !video.muted; },
  f: toggleFullscreen,
};

document.addEventListener('keydown', (event) => {
  const isTyping = event.target.closest('select') || event.ctrlKey || event.altKey || event.metaKey;
  if (!isTyping && KEYS[event.key.toLowerCase()]) KEYS[event.key.toLowerCase()]();
});
quality.addEventListener('change', () => playing && playing.choose(quality.value));
lowLatency.addEventListener('change', () => connect('connecting'));
find('#sound').addEventListener('click', () => { video.muted = false; });
video.addEventListener('ended', () => again('offline'));
mpegts.LoggingControl.applyConfig({ enableDebug: false, enableVerbose: false, enableInfo: false });
lowLatency.disabled = !mpegts.isSupported();
setInterval(tick, TICK_MS);
connect('connecting');
