// The SharedWorker around the one stream of this browser.

import { Stream, type Wish } from "./stream";

const stream = new Stream();

(self as unknown as { onconnect: (event: MessageEvent) => void }).onconnect = (event) => {
  const port = event.ports[0]!;
  const listener = stream.add((news) => port.postMessage(news));
  port.addEventListener("message", ({ data }: MessageEvent<Wish>) => {
    if ("bye" in data) stream.remove(listener);
    else stream.want(listener, data.want.status, data.want.filters);
  });
  port.start();
};
