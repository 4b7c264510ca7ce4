/*
 * listener.h
 *		Follows a queue's events on a connection of its own.
 */
#ifndef CROWD_LISTENER_H
#define CROWD_LISTENER_H

#include "event.h"

typedef void (*Heard) (void *owner, const Event *event, int64_t heard_at);

typedef struct Listener Listener;

/* LISTEN on the queue's channel; heard is called for each event from then on. */
extern Listener *listener_open(const char *queue, Heard heard, void *owner);
extern void listener_close(Listener *listener);

extern int	listener_socket(const Listener *listener);

/* Read what has arrived. */
extern void listener_go_on(Listener *listener);

/* Events heard, by type; and payloads that were none, with the first one's complaint or NULL. */
extern int64_t listener_events(const Listener *listener, EventType type);
extern int64_t listener_malformed(const Listener *listener);
extern const char *listener_complaint(const Listener *listener);

#endif							/* CROWD_LISTENER_H */
