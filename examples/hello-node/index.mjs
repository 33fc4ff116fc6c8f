// Greets whoever the event names. The second argument tells what is left of the time, and more.
export const handler = async (event, context) => {
	console.log('greeting', event.name ?? 'nobody in particular');
	return {
		message: `Hello, ${event.name ?? 'world'}!`,
		function: context.functionName,
		milliseconds_left: context.getRemainingTimeInMillis(),
	};
};
