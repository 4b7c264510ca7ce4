/*
 * client_inside.h
 *		What the parts of a client share: client.c takes its answers, client_does.c
 *		chooses what it does.
 */
#ifndef CROWD_CLIENT_INSIDE_H
#define CROWD_CLIENT_INSIDE_H

#include "client.h"

typedef enum Doing
{
	NOTHING,
	BEGINNING,
	WORKING,					/* on a verb */
	ORDERING,					/* writing the business's own table */
	SAVING,
	ROLLING_BACK_TO,
	RELEASING,
	COMMITTING,
	ROLLING_BACK
} Doing;

typedef enum NoteKind
{
	JOIN_NOTE,
	TOUCH_NOTE,
	ORDER_NOTE
} NoteKind;

/* A deed of the open transaction, or of the statement under way. */
typedef struct Note
{
	NoteKind	kind;
	int			index;			/* in the book */
	int			depth;			/* of savepoints */
} Note;

struct Client
{
	Storm	   *storm;
	Link	   *link;
	Random		random;

	Doing		doing;
	Verb		verb;
	int			session;		/* that the statement is about */
	int64_t		asked_at;
	int64_t		cancel_at;		/* NEVER: it is not to be cancelled */
	int64_t		wake_at;		/* to go on not before then */

	bool		in_transaction;
	bool		failed;
	bool		will_commit;
	int			steps;			/* still to be done in it */
	int			depth;

	Note	   *notes;
	int			n_notes;
	int			notes_room;
	int			first_note;		/* of the statement under way */
};

/* A single statement; a transaction; the next statement of one. */
extern void client_work(Client *client);
extern void client_begin(Client *client);
extern void client_step(Client *client);

#endif							/* CROWD_CLIENT_INSIDE_H */
