/*
 * client.h
 *		One client of a storm: it does whatever its random numbers tell it, in
 *		single statements and in transactions, and notes it all in the book.
 */
#ifndef CROWD_CLIENT_H
#define CROWD_CLIENT_H

#include "link.h"
#include "storm.h"

typedef struct Client Client;

extern Client *client_open(Storm *storm, int number);
extern void client_close(Client *client);
extern Link *client_link(const Client *client);

/* Do what is to be done now; when it wants to be called next without an answer. */
extern int64_t client_go_on(Client *client, int64_t now);

/* It has nothing under way: no statement, and no transaction. */
extern bool client_is_idle(const Client *client);

#endif							/* CROWD_CLIENT_H */
